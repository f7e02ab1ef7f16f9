//! Names the shared library by its ABI and keeps it mapped.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The ABI's number; it freezes with the first tag.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnegotiate_auth.so.1");
    // Servers unload modules while destructors of the library's thread-locals are still due.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}
