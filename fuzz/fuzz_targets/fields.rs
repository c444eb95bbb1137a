//! Texts of objects: durations, locations, issuers. What is accepted is kept as it was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::api::duration::ConfigDuration;
use postern::api::location::Location;
use postern::oauth::issuer::Issuer;

fuzz_target!(|text: String| {
    if let Ok(duration) = ConfigDuration::try_from(text.clone()) {
        assert!(duration.length().is_positive());
        assert_eq!(String::from(duration), text);
    }
    if let Ok(location) = Location::try_from(text.clone()) {
        assert!(location.is_at_or_below(&location));
        assert_eq!(location.as_str(), text);
    }
    if let Ok(issuer) = Issuer::parse(&text, false) {
        assert_eq!(issuer.as_str(), text);
        assert!(text.starts_with("https://"));
    }
});
