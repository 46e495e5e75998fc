//! Octets for [`submitd_fuzz::header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::header::check(octets));
