//! Octets for [`submitd_fuzz::addressed`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::addressed::check(octets));
