//! Octets for [`submitd_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::config::check(octets));
