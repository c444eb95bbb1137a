//! When a set is fetched, and how long its keys are used.

use hyper::body::Bytes;

use super::*;
use crate::outbound::{RequestError, Response};

const URL: &str = "https://keys.example.com/jwks.json";
/// No random part.
const EVEN: f64 = 0.5;

fn created(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn source() -> Source {
    Source::KeySet(URL.into())
}

/// What is published at this URL for an Application that was created at this second.
fn at(url: &str, second: i64) -> Published {
    Published { created: created(second), sources: [Source::KeySet(url.into())].into() }
}

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// A set with one key.
fn set() -> Bytes {
    let x = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
    let y = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
    serde_json::json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}).to_string().into()
}

fn response(body: impl Into<Bytes>, max_age: Option<u64>) -> Result<Answer, Problem> {
    Answer::decode(Response { body: Some(body.into()), etag: None, max_age: max_age.map(Duration::from_secs) })
}

fn timeout() -> Result<Answer, Problem> {
    Err(RequestError::TimedOut.into())
}

fn status(code: u16) -> Result<Answer, Problem> {
    Err(RequestError::Status(code).into())
}

/// A schedule with one URL, which is being fetched.
fn fetching(now: Instant) -> Schedule {
    let mut schedule = Schedule::default();
    assert_eq!(schedule.set_application(&"app".into(), Some(at(URL, 1)), now), names(&["app"]));
    assert_eq!(schedule.step(now), Step::Fetch { source: source(), etag: None });
    schedule
}

/// The time until the next request.
fn wait(schedule: &mut Schedule, now: Instant) -> Duration {
    match schedule.step(now) {
        Step::Wait(Some(until)) => until - now,
        other => panic!("{other:?}"),
    }
}

fn state(schedule: &Schedule) -> State {
    schedule.state(&source(), Instant::now())
}

fn has_keys(schedule: &Schedule) -> bool {
    state(schedule).fetched.is_some_and(|(keys, _)| !keys.is_empty())
}

#[test]
fn a9_a_set_is_fetched_again_after_its_age_within_bounds() {
    let now = Instant::now();
    for (max_age, seconds) in [(None, 300), (Some(0), 60), (Some(5), 60), (Some(600), 600), (Some(u64::MAX), 3600)] {
        let mut schedule = fetching(now);
        schedule.finish(&source(), response(set(), max_age), now, EVEN);
        assert_eq!(wait(&mut schedule, now), Duration::from_secs(seconds), "{max_age:?}");
    }
    for (jitter, seconds) in [(0.0, 270), (1.0, 330)] {
        let mut schedule = fetching(now);
        schedule.finish(&source(), response(set(), None), now, jitter);
        assert_eq!(wait(&mut schedule, now), Duration::from_secs(seconds), "{jitter}");
    }
}

#[test]
fn a9_keys_are_kept_for_a_day_while_the_host_is_down_and_then_end() {
    let start = Instant::now();
    let mut schedule = fetching(start);
    assert_eq!(schedule.finish(&source(), response(set(), None), start, EVEN), names(&["app"]));
    let (mut now, mut waits) = (start, Vec::new());
    let ended = loop {
        match schedule.step(now) {
            Step::Wait(Some(until)) => {
                waits.push((until - now).as_secs());
                now = until;
            }
            Step::Fetch { .. } => {
                let affected = schedule.finish(&source(), timeout(), now, EVEN);
                assert_eq!(!affected.is_empty(), waits.len() == 3, "the third failure is reported, and no later one");
                assert!(has_keys(&schedule));
            }
            Step::Expired(affected) => break affected,
            Step::Wait(None) => panic!("there is a URL"),
        }
    };
    assert_eq!((ended, now - start), (names(&["app"]), Duration::from_hours(24)));
    assert_eq!(waits[..8], [300, 5, 10, 20, 40, 80, 160, 300]);
    assert!(state(&schedule).fetched.is_some_and(|(keys, _)| keys.is_empty()));
    assert_eq!(state(&schedule).problem.as_deref(), Some(&Problem::Request(RequestError::TimedOut)));
    assert_eq!(schedule.finish(&source(), response(set(), None), now, EVEN), names(&["app"]));
    assert!(has_keys(&schedule) && state(&schedule).problem.is_none());
}

#[test]
fn a9_an_error_page_keeps_the_keys_and_every_set_replaces_them() {
    let now = Instant::now();
    let mut schedule = fetching(now);
    schedule.finish(&source(), response(set(), None), now, EVEN);
    let pages = || [response("<html>", None), status(500), status(404)];
    for (number, page) in pages().into_iter().chain(pages()).enumerate() {
        let is_reported = number >= 2;
        assert_eq!(!schedule.finish(&source(), page, now, EVEN).is_empty(), is_reported, "{number}");
        assert_eq!((has_keys(&schedule), state(&schedule).problem.is_some()), (true, is_reported), "{number}");
    }
    assert_eq!(schedule.finish(&source(), response(set(), None), now, EVEN), names(&["app"]), "the problem has ended");
    assert!(state(&schedule).problem.is_none());
    assert!(schedule.finish(&source(), response(set(), None), now, EVEN).is_empty(), "the same again");
    for (body, problem) in
        [(r#"{"keys": []}"#, Problem::NoUsableKey), (r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#, Problem::PrivateKey)]
    {
        assert_eq!(schedule.finish(&source(), response(body, None), now, EVEN), names(&["app"]));
        assert!(!has_keys(&schedule), "{body}");
        assert_eq!(state(&schedule).problem.as_deref(), Some(&problem));
    }
}

#[test]
fn a_host_that_fails_now_and_then_changes_nothing() {
    let now = Instant::now();
    let mut schedule = fetching(now);
    schedule.finish(&source(), response(set(), None), now, EVEN);
    for failures in [1, 2, 1, 2, 2] {
        for _ in 0..failures {
            assert!(schedule.finish(&source(), status(500), now, EVEN).is_empty());
            assert!(has_keys(&schedule) && state(&schedule).problem.is_none());
        }
        assert!(schedule.finish(&source(), response(set(), None), now, EVEN).is_empty());
    }
}

#[test]
fn without_keys_the_first_failure_is_reported() {
    let now = Instant::now();
    let mut schedule = fetching(now);
    assert_eq!(schedule.finish(&source(), timeout(), now, EVEN), names(&["app"]));
    assert!(schedule.finish(&source(), timeout(), now, EVEN).is_empty(), "the same again");
    assert_eq!(schedule.finish(&source(), status(500), now, EVEN), names(&["app"]));
    schedule.finish(&source(), response(set(), None), now, EVEN);
    schedule.finish(&source(), response(r#"{"keys": []}"#, None), now, EVEN);
    assert_eq!(schedule.finish(&source(), status(500), now, EVEN), names(&["app"]), "the set was empty");
    assert_eq!(state(&schedule).problem.as_deref(), Some(&Problem::Request(RequestError::Status(500))));
}

#[test]
fn an_unchanged_set_is_confirmed_by_its_etag() {
    let (now, etag) = (Instant::now(), HeaderValue::from_static("\"one\""));
    let mut schedule = fetching(now);
    let first = Response { body: Some(set()), etag: Some(etag.clone()), max_age: None };
    schedule.finish(&source(), Answer::decode(first), now, EVEN);
    let later = now + Duration::from_hours(23);
    assert_eq!(schedule.step(later), Step::Fetch { source: source(), etag: Some(etag.clone()) });
    assert!(schedule.finish(&source(), Ok(Answer::default()), later, EVEN).is_empty());
    let much_later = later + Duration::from_hours(23);
    assert_eq!(schedule.step(much_later), Step::Fetch { source: source(), etag: Some(etag) }, "not too old");
}

#[test]
fn a9_an_unknown_key_causes_one_request_in_thirty_seconds() {
    let now = Instant::now();
    let mut schedule = fetching(now);
    schedule.finish(&source(), response(set(), None), now, EVEN);
    for _ in 0..3 {
        schedule.refresh(&source(), now + Duration::from_secs(1));
    }
    assert_eq!(wait(&mut schedule, now), EARLY_INTERVAL);
    let early = now + EARLY_INTERVAL;
    assert!(matches!(schedule.step(early), Step::Fetch { .. }));
    schedule.finish(&source(), timeout(), early, EVEN);
    schedule.finish(&source(), timeout(), early, EVEN);
    schedule.refresh(&source(), early);
    assert_eq!(wait(&mut schedule, early), Duration::from_secs(10), "never later than without the unknown key");
    schedule.refresh(&Source::Issuer(URL.into()), early);
}

#[test]
fn a_source_that_no_application_uses_is_dropped() {
    let now = Instant::now();
    let mut schedule = fetching(now);
    schedule.finish(&source(), response(set(), None), now, EVEN);
    assert_eq!(schedule.set_application(&"two".into(), Some(at(URL, 2)), now), names(&["two"]));
    assert_eq!(schedule.set_application(&"app".into(), None, now), names(&["app"]));
    assert!(has_keys(&schedule), "the other one uses it");
    assert!(schedule.set_application(&"two".into(), Some(at(URL, 2)), now).is_empty(), "no change");
    let other = "https://keys.example.com/other.json";
    assert_eq!(schedule.set_application(&"two".into(), Some(at(other, 2)), now), names(&["two"]));
    assert!(!has_keys(&schedule));
    assert!(schedule.finish(&source(), response(set(), None), now, EVEN).is_empty(), "a late response");
    assert!(!has_keys(&schedule));
    assert_eq!(schedule.set_application(&"two".into(), None, now), names(&["two"]));
    assert!(schedule.is_unused());
    assert_eq!(schedule.step(now), Step::Wait(None));
}

#[test]
fn a9_a_namespace_has_a_limited_number_of_sources_those_of_its_oldest_applications() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    let url = |number: usize| format!("https://keys.example.com/{number}");
    let add = |schedule: &mut Schedule, number: usize| {
        let published = Some(at(&url(number), i64::try_from(number).unwrap()));
        schedule.set_application(&format!("app-{number}").into(), published, now)
    };
    for number in 1..=SOURCES_MAX + 1 {
        add(&mut schedule, number);
    }
    let is_refused = |schedule: &Schedule, number: usize| {
        schedule.state(&Source::KeySet(url(number).into()), now).problem.as_deref() == Some(&Problem::TooManySources)
    };
    assert!(is_refused(&schedule, SOURCES_MAX + 1) && !is_refused(&schedule, SOURCES_MAX));
    let displaced = format!("app-{SOURCES_MAX}");
    assert_eq!(add(&mut schedule, 0), names(&["app-0", &displaced]), "an older one");
    assert!(is_refused(&schedule, SOURCES_MAX) && !is_refused(&schedule, 0));
    assert_eq!(schedule.set_application(&"app-0".into(), None, now), names(&["app-0", &displaced]));
    assert!(!is_refused(&schedule, SOURCES_MAX));
}

#[test]
fn f4_an_application_has_several_sources_each_with_its_own_keys() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    let issuer = Source::Issuer(URL.into());
    let sources = BTreeSet::from([source(), issuer.clone()]);
    let both = Published { created: created(1), sources };
    assert_eq!(schedule.set_application(&"app".into(), Some(both), now), names(&["app"]));
    assert_eq!(schedule.source("app", None), Some(&source()));
    assert_eq!(schedule.source("app", Some(URL)), Some(&issuer), "the same URL as an issuer");
    assert_eq!(
        (schedule.source("app", Some("https://other.example.com")), schedule.source("other", None)),
        (None, None)
    );
    for _ in 0..2 {
        assert!(matches!(schedule.step(now), Step::Fetch { .. }));
        schedule.finish(&issuer, response(set(), None), now, EVEN);
        assert!(schedule.state(&issuer, now).fetched.is_some());
    }
    assert!(state(&schedule).fetched.is_none());
    assert_eq!(schedule.set_application(&"app".into(), Some(at(URL, 1)), now), names(&["app"]));
    assert!(schedule.state(&issuer, now).fetched.is_none(), "the issuer was removed");
}
