//! Compression is lossless and effective.

use super::*;

/// A ClientSecret, an Application and a ServiceUser as in a cluster.
const CLIENT_SECRET: &str = r#"{
    "apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret",
    "metadata": {"creationTimestamp": "2031-11-24T04:06:42Z", "generation": 1, "name": "invoice-sync", "namespace": "billing",
        "resourceVersion": "1234367", "uid": "4b873e85-823b-4ac7-bc92-d3fef9ec06df"},
    "spec": {"applicationRef": {"name": "invoice-sync"}, "description": "Production pods.", "expiresIn": "1y"},
    "status": {
        "binding": {"name": "invoice-sync"},
        "conditions": [
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "The credential is in Secret invoice-sync and authenticates.",
                "observedGeneration": 1, "reason": "Issued", "status": "True", "type": "Ready"},
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "It does not expire soon.",
                "observedGeneration": 1, "reason": "NotExpiring", "status": "False", "type": "Expiring"},
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "No rotation in progress.",
                "observedGeneration": 1, "reason": "NotRotating", "status": "False", "type": "Rotating"}],
        "expiresAt": "2032-11-24T04:06:42Z", "hint": "pst_6rF7", "observedGeneration": 1,
        "versions": [{"createdAt": "2031-11-24T04:06:42Z", "id": "6rF762ey", "state": "Active",
            "verifier": "g1.kWpiUsnE.1O0yewgEuJJF8a-g2NwjXNrEAQfACuPbYw-Afj4Pkii18US0IGSSbiuu36FtmYmY"}]
    }
}"#;
const APPLICATION: &str = r#"{
    "apiVersion": "postern.dev/v1alpha1", "kind": "Application",
    "metadata": {"creationTimestamp": "2031-11-24T04:06:42Z", "generation": 2, "name": "invoice-sync", "namespace": "billing",
        "resourceVersion": "1234445", "uid": "1c040ff2-bd4d-46fe-a929-a5cd20c52618"},
    "spec": {"serviceUserRef": {"name": "invoice-sync"}, "token": {"lifetime": "5m"}},
    "status": {
        "fingerprint": "89ed8af20357a85fe04540af1cbebd07", "clientId": "1c040ff2-bd4d-46fe-a929-a5cd20c52618",
        "authMethods": [{"method": "client_secret_basic", "lastUsedAt": "2031-11-24T04:06:42Z"}],
        "conditions": [
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "Enabled.", "observedGeneration": 2, "reason": "Accepted",
                "status": "True", "type": "Ready"},
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "ServiceUser invoice-sync exists and is enabled.",
                "observedGeneration": 2, "reason": "Resolved", "status": "True", "type": "ServiceUserResolved"},
            {"lastTransitionTime": "2031-11-24T04:06:43Z", "message": "Every replica serves epoch 1.", "observedGeneration": 2,
                "reason": "Served", "status": "True", "type": "Propagated"}],
        "epoch": 1, "observedGeneration": 2,
        "permissions": [{"audience": "https://billing.example.com", "scopes": ["invoices:list", "invoices:read"]}],
        "roles": ["billing.reader"], "secrets": {"active": 1, "limit": 20, "summary": "1/1", "total": 1},
        "subject": "c8bee7f8-33c5-40f9-9f67-3cd5c77fc1c1"
    }
}"#;
const SERVICE_USER: &str = r#"{
    "apiVersion": "postern.dev/v1alpha1", "kind": "ServiceUser",
    "metadata": {"annotations": {"postern.dev/created-by": "jane@example.com"}, "creationTimestamp": "2031-11-24T04:06:42Z",
        "generation": 1, "name": "invoice-sync", "namespace": "billing", "resourceVersion": "1234361",
        "uid": "c8bee7f8-33c5-40f9-9f67-3cd5c77fc1c1"},
    "spec": {"groups": ["billing-readers"], "location": "/emea/billing"},
    "status": {
        "fingerprint": "a4837191b5ac5c8ea1f8ae37667d845d",
        "conditions": [
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "All groups resolved.",
                "observedGeneration": 1, "reason": "Accepted", "status": "True", "type": "Ready"},
            {"lastTransitionTime": "2031-11-24T04:06:42Z", "message": "All groups resolved.",
                "observedGeneration": 1, "reason": "GroupsResolved", "status": "True", "type": "GroupsResolved"}],
        "epoch": 1, "observedGeneration": 1, "roles": ["billing.reader"], "summary": "billing.reader",
        "grants": [{"group": "billing-readers", "location": "/emea/billing", "plane": "Operational", "role": "billing.reader"}],
        "subject": "c8bee7f8-33c5-40f9-9f67-3cd5c77fc1c1"
    }
}"#;

/// Compresses the object, checks that opening returns it, and returns its size before and after.
fn packed<K: Dictionary + PartialEq + fmt::Debug>(object: &str) -> (usize, usize) {
    let object: K = serde_json::from_str(object).unwrap();
    let packed = Compressed::new(&object);
    assert_eq!(packed.open().as_deref(), Some(&object));
    (packed.length, packed.block.len())
}

#[test]
fn an_object_survives_compression_unchanged_and_takes_less_than_a_third_of_its_size() {
    for (before, after) in
        [packed::<ClientSecret>(CLIENT_SECRET), packed::<Application>(APPLICATION), packed::<ServiceUser>(SERVICE_USER)]
    {
        assert!(after * 3 < before, "{after} of {before} bytes");
    }
}

/// A renamed field would only make compressed objects larger, which no other test detects.
#[test]
fn the_dictionaries_are_objects_of_their_kinds() {
    for typical in [ServiceUser::dictionary(), Application::dictionary(), ClientSecret::dictionary()] {
        assert!(typical.len() > 500);
    }
}

#[test]
fn an_object_of_any_size_can_be_decompressed() {
    let mut object: Application = serde_json::from_str(APPLICATION).unwrap();
    for length in [0, 1, 1_000, 1_000_000] {
        object.spec.description = Some("é".repeat(length));
        assert_eq!(Compressed::new(&object).open().as_deref(), Some(&object));
    }
    object.status = None;
    assert_eq!(Compressed::new(&object).open().as_deref(), Some(&object));
}

#[test]
fn a_truncated_object_is_treated_as_absent() {
    let object: Application = serde_json::from_str(APPLICATION).unwrap();
    let whole = Compressed::new(&object);
    let cut = |length: usize| Compressed::<Application> {
        block: whole.block.iter().copied().take(length).collect(),
        length: whole.length,
        kind: PhantomData,
    };
    assert!(cut(whole.block.len()).open().is_some());
    assert!((0..whole.block.len()).all(|length| cut(length).open().is_none()));
}
