//! Octets for [`submitd_fuzz::envelope`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::envelope::check(octets));
