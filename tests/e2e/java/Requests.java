import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.file.Path;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Requests of one user, told and answered line by line.
 *
 * The first lines of the input are the user and the password. Each further line is a request: method, URL, file of the
 * body or nothing, how that is sent, and the id of the test, with tabs between them. The answer is a line, too: the
 * status and the body, or 0 and the exception.
 */
class Requests {
    interface Client {
        Answer send(Request request) throws IOException;
    }

    interface Clients {
        Client of(String user, String password);
    }

    record Request(String method, String url, Path body, String how, String testId) {
        static Request read(String line) {
            String[] fields = line.split("\t", -1);
            Path body = fields[2].isEmpty() ? null : Path.of(fields[2]);
            return new Request(fields[0], fields[1], body, fields[3], fields[4]);
        }
    }

    record Answer(int status, String body) {
        @Override
        public String toString() {
            return status + "\t" + body.replaceAll("\\s+", " ");
        }
    }

    static void serve(Clients clients) throws IOException {
        var input = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        var output = new PrintStream(System.out, true, UTF_8);
        Client client = clients.of(input.readLine(), input.readLine());
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            output.println(answer(client, Request.read(line)));
        }
    }

    private static Answer answer(Client client, Request request) {
        try {
            return client.send(request);
        } catch (IOException exception) {
            return new Answer(0, exception.toString());
        }
    }
}
