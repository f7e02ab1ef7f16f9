import java.io.IOException;
import java.nio.file.Files;

import org.apache.http.HttpEntity;
import org.apache.http.auth.AuthScope;
import org.apache.http.auth.NTCredentials;
import org.apache.http.client.config.RequestConfig;
import org.apache.http.client.methods.RequestBuilder;
import org.apache.http.client.protocol.HttpClientContext;
import org.apache.http.entity.FileEntity;
import org.apache.http.entity.InputStreamEntity;
import org.apache.http.impl.client.BasicCredentialsProvider;
import org.apache.http.impl.client.CloseableHttpClient;
import org.apache.http.impl.client.HttpClients;
import org.apache.http.util.EntityUtils;

/** Apache HttpClient 4, whose connections belong to the user who signed in on them. */
class ApacheHttpClient implements Requests.Client {
    private final CloseableHttpClient client;
    private final HttpClientContext context = HttpClientContext.create();

    public static void main(String[] arguments) throws IOException {
        Requests.serve(ApacheHttpClient::new);
    }

    private ApacheHttpClient(String name, String password) {
        String[] parts = name.split("\\\\", 2);
        var credentials = new BasicCredentialsProvider();
        credentials.setCredentials(AuthScope.ANY, new NTCredentials(parts[1], password, "CLIENT", parts[0]));
        client = HttpClients.custom().useSystemProperties().setDefaultCredentialsProvider(credentials).build();
    }

    @Override
    public Requests.Answer send(Requests.Request request) throws IOException {
        var config = RequestConfig.custom().setExpectContinueEnabled(request.how().equals("expect")).build();
        var builder = RequestBuilder.create(request.method()).setUri(request.url()).setConfig(config);
        builder.setHeader("X-Test-Id", request.testId());
        if (request.body() != null) {
            builder.setEntity(entity(request));
        }
        try (var response = client.execute(builder.build(), context)) {
            return new Requests.Answer(response.getStatusLine().getStatusCode(),
                                       EntityUtils.toString(response.getEntity()));
        }
    }

    private static HttpEntity entity(Requests.Request request) throws IOException {
        if (request.how().equals("fixed")) {
            return new InputStreamEntity(Files.newInputStream(request.body()), Files.size(request.body()));
        }
        var entity = new FileEntity(request.body().toFile());
        entity.setChunked(request.how().equals("chunked"));
        return entity;
    }
}
