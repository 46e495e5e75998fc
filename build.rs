//! A static program moves itself to where the kernel put it: its list of what to change is a hundredth as long
//! when packed (RELR, glibc 2.36 and later), and lies in memory. A dynamic one is left as it is, since
//! the loader of an older system could not read it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |key: &str, wanted: &str| {
        std::env::var(key).is_ok_and(|found| found.split(',').any(|one| one == wanted))
    };
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
