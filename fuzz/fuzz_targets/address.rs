//! Octets for [`submitd_fuzz::address`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::address::check(octets));
