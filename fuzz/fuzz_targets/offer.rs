//! Octets for [`submitd_fuzz::offer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::offer::check(octets));
