#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kamailio_dispatcher_fuzz::destination_uri(data));
