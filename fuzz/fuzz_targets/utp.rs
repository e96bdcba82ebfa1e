#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| teem_fuzz::targets::utp::run(data));
