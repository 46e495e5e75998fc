//! Octets for [`submitd_fuzz::reply`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::reply::check(octets));
