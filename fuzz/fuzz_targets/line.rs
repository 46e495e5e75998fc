//! Octets for [`submitd_fuzz::line`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::line::check(octets));
