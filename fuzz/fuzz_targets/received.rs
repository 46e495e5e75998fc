//! Octets for [`submitd_fuzz::received`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::received::check(octets));
