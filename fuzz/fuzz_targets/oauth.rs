//! Octets for [`submitd_fuzz::oauth`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::oauth::check(octets));
