//! Octets for [`submitd_fuzz::server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::server::check(octets));
