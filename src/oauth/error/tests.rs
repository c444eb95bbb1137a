use super::*;
use crate::oauth::client_record::Denial;
use crate::oauth::denial_rule::DenialRule;

/// Every error, each derived from the previous one: a missing variant does not compile.
fn every_error() -> Vec<TokenError> {
    std::iter::successors(Some(TokenError::UnsupportedGrantType), after).collect()
}

fn object() -> ObjectRevision {
    ObjectRevision { kind: "ClientSecret", namespace: "billing".into(), name: "blue".into(), resource_version: 7 }
}

fn refusal() -> Denial {
    Denial { rule: DenialRule::Revoked, object: object() }
}

fn after(error: &TokenError) -> Option<TokenError> {
    let authority = |error| TokenError::Authority { error, object: object() };
    Some(match error {
        TokenError::UnsupportedGrantType => TokenError::ScopeSyntax,
        TokenError::ScopeSyntax => TokenError::TargetSyntax,
        TokenError::TargetSyntax => TokenError::TooLarge,
        TokenError::TooLarge => TokenError::Proof(DenialRule::ProofMissing, Some(object())),
        TokenError::Proof(rule, _) => {
            let mut proofs = DenialRule::ALL.iter().filter(|rule| rule.name().starts_with("Proof"));
            let next = proofs.by_ref().skip_while(|known| *known != rule).nth(1);
            let binding = || TokenError::Binding(DenialRule::BindingCertificateMissing, object());
            next.map_or_else(binding, |next| TokenError::Proof(*next, None))
        }
        TokenError::Binding(DenialRule::BindingCertificateMissing, _) => {
            TokenError::Binding(DenialRule::BindingProofUnexpected, object())
        }
        TokenError::Binding(DenialRule::BindingProofUnexpected, _) => {
            TokenError::Binding(DenialRule::CertificateMalformed, object())
        }
        TokenError::Binding(..) => TokenError::Internal,
        TokenError::Internal => RequestError::NotAForm.into(),
        TokenError::Request(error) => match error {
            RequestError::NotAForm => RequestError::Query.into(),
            RequestError::Query => RequestError::BodyTooLarge.into(),
            RequestError::BodyTooLarge => RequestError::BodyTimeout.into(),
            RequestError::BodyTimeout => RequestError::BodyIncomplete.into(),
            RequestError::BodyIncomplete => RequestError::NotUtf8.into(),
            RequestError::NotUtf8 => RequestError::Repeated.into(),
            RequestError::Repeated => RequestError::TooManyParameters.into(),
            RequestError::TooManyParameters => RequestError::MissingGrantType.into(),
            RequestError::MissingGrantType => RequestError::MissingAssertion.into(),
            RequestError::MissingAssertion => RequestError::MissingClientId.into(),
            RequestError::MissingClientId => RequestError::MissingToken.into(),
            RequestError::MissingToken => RequestError::Touch.into(),
            RequestError::Touch => RequestError::SeveralMethods.into(),
            RequestError::SeveralMethods => RequestError::ClientIdMismatch.into(),
            RequestError::ClientIdMismatch => ClientError::NoCredentials.into(),
        },
        TokenError::Client(error) => match **error {
            ClientError::NoCredentials => ClientError::MalformedHeader.into(),
            ClientError::MalformedHeader => ClientError::UnsupportedMethod.into(),
            ClientError::UnsupportedMethod => ClientError::MalformedSecret.into(),
            ClientError::MalformedSecret => ClientError::Assertion(DenialRule::AssertionExpired, None).into(),
            ClientError::Assertion(..) => ClientError::Certificate(DenialRule::CertificateExpired, None).into(),
            ClientError::Certificate(..) => ClientError::UnknownClient.into(),
            ClientError::UnknownClient => ClientError::ClientDisabled(refusal()).into(),
            ClientError::ClientDisabled(_) => ClientError::UnknownSecret(object()).into(),
            ClientError::UnknownSecret(_) => ClientError::WrongSecret(object()).into(),
            ClientError::WrongSecret(_) => ClientError::Locked(object()).into(),
            ClientError::Locked(_) => ClientError::SecretsNotAllowed(object()).into(),
            ClientError::SecretsNotAllowed(_) => ClientError::MethodNotAllowed(object()).into(),
            ClientError::MethodNotAllowed(_) => ClientError::SecretDisabled(refusal()).into(),
            ClientError::SecretDisabled(_) => ClientError::SecretExpired(object()).into(),
            ClientError::SecretExpired(_) => ClientError::VersionRetired(object()).into(),
            ClientError::VersionRetired(_) => ClientError::NetworkNotAllowed(object()).into(),
            ClientError::NetworkNotAllowed(_) => ClientError::UseNotAllowed(object()).into(),
            ClientError::UseNotAllowed(_) => TokenError::Grant(Box::new(ClientError::UnknownClient)),
        },
        TokenError::Grant(_) => authority(AuthorityError::NoPermissions),
        TokenError::Authority { error, .. } => match error {
            AuthorityError::NoPermissions => authority(AuthorityError::ScopeNotGranted),
            AuthorityError::ScopeNotGranted => authority(AuthorityError::NoScope),
            AuthorityError::NoScope => authority(AuthorityError::AudienceNotGranted),
            AuthorityError::AudienceNotGranted => authority(AuthorityError::AudienceAmbiguous),
            AuthorityError::AudienceAmbiguous => authority(AuthorityError::SeveralAudiences),
            AuthorityError::SeveralAudiences => Unavailable::NotSynced.into(),
        },
        TokenError::Unavailable(error) => match error {
            Unavailable::NotSynced => Unavailable::Stale.into(),
            Unavailable::Stale => Unavailable::Behind.into(),
            Unavailable::Behind => Unavailable::Overloaded.into(),
            Unavailable::Overloaded => Unavailable::NoKey.into(),
            Unavailable::NoKey => Unavailable::RateLimited.into(),
            Unavailable::RateLimited => Unavailable::FailureLimit(NonZeroU32::MIN).into(),
            Unavailable::FailureLimit(_) => Unavailable::HashLimit.into(),
            Unavailable::HashLimit => Unavailable::TokenLimit(NonZeroU32::MIN).into(),
            Unavailable::TokenLimit(_) => Unavailable::TooOften(NonZeroU32::MIN).into(),
            Unavailable::TooOften(_) => Unavailable::NoRoom.into(),
            Unavailable::NoRoom => return None,
        },
    })
}

#[test]
fn r4_descriptions_are_printable_ascii_without_quotes_and_backslashes() {
    for error in every_error() {
        let wire = error.to_response();
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(wire.description.bytes().all(allowed), "{}", wire.description);
    }
}

#[test]
fn r4_errors_are_400_except_invalid_client_and_errors_outside_of_the_protocol() {
    for error in every_error() {
        let wire = error.to_response();
        let expected: &[u16] = match wire.code {
            ErrorCode::InvalidClient => &[401],
            ErrorCode::TemporarilyUnavailable => &[429, 503],
            ErrorCode::ServerError => &[500],
            ErrorCode::InvalidRequest => &[400, 408, 413],
            _ => &[400],
        };
        assert!(expected.contains(&wire.status), "{error:?}: {}", wire.status);
    }
}

#[test]
fn a4_every_failed_authentication_has_the_same_response() {
    let answers: Vec<WireError> = every_error()
        .iter()
        .filter(|error| matches!(error, TokenError::Client(error) if !error.is_disclosed()))
        .map(TokenError::to_response)
        .collect();
    assert!(answers.len() > 1 && answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn r6_exactly_the_responses_429_and_503_have_a_retry_after() {
    for error in every_error() {
        let wire = error.to_response();
        assert_eq!(wire.retry_after_s.is_some(), matches!(wire.status, 429 | 503), "{error:?}");
    }
}

#[test]
fn rules_are_one_word() {
    for error in every_error() {
        assert!(error.rule().name().bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", error.rule());
    }
}
