//! Key sets of real servers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::{Change, KeySets, Problem, Source, State};
use crate::outbound::test_server::{Answers, NAME, Reply, TestServer};
use crate::outbound::{Policy, RequestError};

/// A limit for a test that hangs.
const LONG: Duration = Duration::from_mins(1);

fn set(kids: &[&str]) -> String {
    let key = |kid: &&str| {
        let x = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
        let y = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid})
    };
    json!({"keys": kids.iter().map(key).collect::<Vec<Value>>()}).to_string()
}

fn key_ids(state: &State) -> Option<Vec<String>> {
    let keys = state.fetched.as_ref()?.0.iter();
    Some(keys.map(|key| key.key_id().unwrap_or_default().to_owned()).collect())
}

struct Fetched {
    sets: KeySets,
    changes: UnboundedReceiver<Change>,
    server: TestServer,
}

impl Fetched {
    async fn new(reply: Reply) -> Self {
        let server = TestServer::start(reply).await;
        let (sets, changes) = KeySets::new(server.client(server.policy(), Answers::new(&[&["127.0.0.1"]])));
        Self { sets, changes, server }
    }

    fn set_application(&self, namespace: &str, name: &str, url: Option<&str>) {
        let sources = url.map(|url| Source::KeySet(url.into())).into_iter().collect();
        self.sets.set_application(&namespace.into(), &name.into(), sources, Timestamp::UNIX_EPOCH);
    }

    /// The state of a source after the next change that fulfils a condition.
    async fn until(&mut self, namespace: &str, source: &Source, is_met: impl Fn(&State) -> bool) -> State {
        let met = async {
            loop {
                let state = self.sets.state(namespace, source);
                if is_met(&state) {
                    return state;
                }
                self.changes.recv().await.expect("the sets exist");
            }
        };
        timeout(LONG, met).await.expect("a change")
    }
}

#[tokio::test]
async fn a9_keys_are_fetched_kept_while_the_server_is_down_and_dropped_with_their_application() {
    let mut fetched = Fetched::new(Reply::Closed).await;
    let url = fetched.server.url(NAME);
    let source = Source::KeySet(url.as_str().into());
    assert!(fetched.sets.state("billing", &source).fetched.is_none());
    fetched.set_application("billing", "app", Some(&url));
    let down = fetched.until("billing", &source, |state| state.problem.is_some()).await;
    assert!(matches!(down.problem.as_deref(), Some(Problem::Request(RequestError::Unreachable(_)))), "{down:?}");
    assert!(down.fetched.is_none());

    fetched.server.answer(Reply::ok(&set(&["one"])));
    let up = fetched.until("billing", &source, |state| state.fetched.is_some()).await;
    assert_eq!((key_ids(&up), up.problem.is_some()), (Some(vec!["one".to_owned()]), false));
    assert!(fetched.sets.state("other", &source).fetched.is_none(), "each namespace has its own");

    fetched.set_application("billing", "app", None);
    assert!(fetched.sets.state("billing", &source).fetched.is_none());
    assert!(fetched.sets.source("billing", "app", None).is_none());
}

#[tokio::test]
async fn a9_a_host_that_is_not_allowed_is_not_requested() {
    let server = TestServer::start(Reply::ok(&set(&["one"]))).await;
    let policy = Policy { hosts: Vec::new(), ..server.policy() };
    let (sets, changes) = KeySets::new(server.client(policy, Answers::new(&[&["127.0.0.1"]])));
    let url = server.url(NAME);
    let mut fetched = Fetched { sets, changes, server };
    fetched.set_application("billing", "app", Some(&url));
    let state = fetched.until("billing", &Source::KeySet(url.as_str().into()), |state| state.problem.is_some()).await;
    let problem = state.problem.unwrap();
    assert_eq!((&*problem, problem.is_temporary()), (&Problem::Request(RequestError::HostNotAllowed), false));
    assert!(problem.remedy(NAME).contains("add keys.example.com to --outbound-hosts"));
    assert_eq!(fetched.server.connections.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a9_slow_hosts_of_one_namespace_do_not_delay_another() {
    let mut fetched = Fetched::new(Reply::ok(&set(&["one"]))).await;
    let silent = TestServer::start(Reply::Slow).await;
    let hosts =
        [&fetched.server, &silent].map(|server| format!("127.0.0.1:{}", server.address.port()).parse().unwrap());
    let policy = Policy { hosts: hosts.into(), ..fetched.server.policy() };
    let ca = Arc::from([&*fetched.server.ca, &*silent.ca].concat());
    let (_, roots) = tokio::sync::watch::channel(Some(ca));
    let client = crate::outbound::Client::new(policy, Arc::new(crate::outbound::SystemResolver), roots);
    (fetched.sets, fetched.changes) = KeySets::new(client);
    for number in 0..super::REQUESTS_MAX * 2 {
        let url = format!("https://127.0.0.1:{}/{number}", silent.address.port());
        fetched.set_application("slow", &format!("app-{number}"), Some(&url));
    }
    let url = fetched.server.url("127.0.0.1");
    fetched.set_application("billing", "app", Some(&url));
    fetched.until("billing", &Source::KeySet(url.as_str().into()), |state| state.fetched.is_some()).await;
    assert!(silent.requests.lock().unwrap().len() <= 1, "one request at a time");
}

#[tokio::test]
async fn a9_work_on_the_keys_of_one_namespace_delays_no_request_of_another() {
    let fetched = Fetched::new(Reply::Closed).await;
    let url = fetched.server.url(NAME);
    for namespace in ["busy", "billing"] {
        fetched.set_application(namespace, "app", Some(&url));
    }
    let (sets, source) = (&fetched.sets, Source::KeySet(url.as_str().into()));
    std::thread::scope(|threads| {
        let busy = sets.find("busy").unwrap();
        let work = super::lock(&busy.schedule);
        let waiting = threads.spawn(|| sets.state("busy", &source));
        std::thread::sleep(Duration::from_millis(100));
        let (sender, receiver) = std::sync::mpsc::channel();
        threads.spawn(move || sender.send(sets.source("billing", "app", None)));
        let found = receiver.recv_timeout(Duration::from_secs(10));
        assert!(!waiting.is_finished(), "it waits for the work");
        drop(work);
        assert_eq!(found, Ok(Some(source.clone())));
    });
}

#[tokio::test]
async fn f4_the_keys_of_an_issuer_are_those_that_its_metadata_names() {
    let mut fetched = Fetched::new(Reply::ok("<html>")).await;
    let url = fetched.server.url(NAME);
    let issuer = url.strip_suffix("/jwks.json").unwrap().to_owned();
    let source = Source::Issuer(issuer.as_str().into());
    fetched.sets.set_application(&"billing".into(), &"app".into(), [source.clone()].into(), Timestamp::UNIX_EPOCH);
    let problem = |state: State| state.problem.unwrap();
    let state = fetched.until("billing", &source, |state| state.problem.is_some()).await;
    assert_eq!(*problem(state), Problem::NotMetadata);

    // The metadata and the set in one document: the server has one response for every path.
    let document = |issuer: &str, url: &str| {
        let mut document: Value = set(&["one"]).parse().unwrap();
        (document["issuer"], document["jwks_uri"]) = (issuer.into(), url.into());
        Reply::ok(&document.to_string())
    };
    fetched.server.answer(document("https://other.example.com", &url));
    let state =
        fetched.until("billing", &source, |state| state.problem.as_deref() != Some(&Problem::NotMetadata)).await;
    assert_eq!(*problem(state), Problem::OtherIssuer);
    fetched.server.answer(document(&issuer, "https://internal.example.com/jwks"));
    let state =
        fetched.until("billing", &source, |state| state.problem.as_deref() != Some(&Problem::OtherIssuer)).await;
    let refused = problem(state);
    assert_eq!(
        refused.to_string(),
        "the operator does not allow this host (internal.example.com, from jwks_uri of its metadata)"
    );
    assert!(refused.remedy(NAME).contains("add internal.example.com to --outbound-hosts"), "{}", refused.remedy(NAME));

    fetched.server.answer(document(&issuer, &url));
    let state = fetched.until("billing", &source, |state| state.fetched.is_some()).await;
    assert_eq!((key_ids(&state), state.problem.is_some()), (Some(vec!["one".to_owned()]), false));
    let requests = fetched.server.requests.lock().unwrap().clone();
    let [.., metadata, keys] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(metadata.starts_with("GET /.well-known/openid-configuration "), "{metadata}");
    assert!(keys.starts_with("GET /jwks.json "), "{keys}");
}

#[tokio::test]
async fn work_in_one_namespace_does_not_delay_another() {
    let sets = Arc::new(KeySets::empty());
    let set = |namespace: &'static str| {
        let (sets, runtime) = (Arc::clone(&sets), tokio::runtime::Handle::current());
        let (sender, done) = std::sync::mpsc::channel();
        let source = Source::KeySet("https://keys.example.com".into());
        std::thread::spawn(move || {
            let _guard = runtime.enter();
            sets.set_application(&namespace.into(), &"app".into(), [source].into(), Timestamp::UNIX_EPOCH);
            let _ = sender.send(());
        });
        done
    };
    set("large").recv_timeout(LONG).unwrap();
    let large = sets.find("large").unwrap();
    let busy = super::lock(&large.schedule);
    let waiting = set("large");
    // It has begun, and waits for the lock.
    while Arc::strong_count(&large) < 4 {
        std::thread::yield_now();
    }
    set("small").recv_timeout(LONG).expect("not delayed");
    assert!(waiting.try_recv().is_err());
    drop(busy);
    waiting.recv_timeout(LONG).unwrap();
}

#[tokio::test]
async fn an_application_that_is_added_while_the_last_other_one_is_removed_is_kept() {
    let sets = KeySets::empty();
    let runtime = tokio::runtime::Handle::current();
    let (namespace, source) = (Arc::from("billing"), Source::KeySet("https://keys.example.com".into()));
    std::thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let (sets, runtime, namespace, source) = (&sets, runtime.clone(), &namespace, &source);
            scope.spawn(move || {
                let _guard = runtime.enter();
                for _ in 0..2_000 {
                    sets.set_application(namespace, &name.into(), [source.clone()].into(), Timestamp::UNIX_EPOCH);
                    assert_eq!(sets.source(namespace, name, None).as_ref(), Some(source));
                    sets.set_application(namespace, &name.into(), [].into(), Timestamp::UNIX_EPOCH);
                }
            });
        }
    });
    assert!(super::lock(&sets.namespaces).is_empty());
}
