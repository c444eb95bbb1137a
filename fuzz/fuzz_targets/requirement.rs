//! What a proxy requires of a request, from the query of the forward-auth endpoint.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::oauth::form::Form;
use postern::oauth::forward_auth::Requirement;

fuzz_target!(|query: &[u8]| {
    let Ok(form) = Form::parse(query) else { return };
    if let Ok(requirement) = Requirement::parse(&form) {
        assert_ne!(requirement.audience, Some(""));
        assert!(requirement.scopes.iter().all(|scope| !scope.is_empty()));
    }
});
