//! Octets for [`submitd_fuzz::data`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::data::check(octets));
