//! Octets for [`submitd_fuzz::sasl`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::sasl::check(octets));
