//! A static program moves itself to where the kernel put it: its list of what to change is a hundredth as long
//! when packed (RELR, glibc 2.36 and later), and lies in memory. A dynamic one is left as it is, since
//! the loader of an older system could not read it.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |key: &str, wanted: &str| {
        std::env::var(key).is_ok_and(|found| found.split(',').any(|one| one == wanted))
    };
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
        && is_native()
        && unpacks()
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn is_native() -> bool {
    std::env::var_os("HOST") == std::env::var_os("TARGET")
}

/// Whether the C library that is linked knows packed relocations: an older one would crash at its start.
fn unpacks() -> bool {
    let Ok(told) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let told = String::from_utf8_lossy(&told.stdout);
    let mut numbers = told.trim().trim_start_matches("glibc ").split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(2)), Some(Ok(36..))) | (Some(Ok(3..)), _))
}
