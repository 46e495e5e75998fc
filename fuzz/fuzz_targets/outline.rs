//! Octets for [`submitd_fuzz::outline`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::outline::check(octets));
