//! Octets for [`submitd_fuzz::command`].
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| submitd_fuzz::command::check(octets));
