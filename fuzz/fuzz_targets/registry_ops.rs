#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| teem_fuzz::registry_ops::run(data));
