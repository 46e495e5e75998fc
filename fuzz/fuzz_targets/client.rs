//! Octets for [`submitd_fuzz::client`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::client::check(octets));
