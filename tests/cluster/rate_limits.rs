//! Rate limits, as the operator and the owner of an Application set them.

use serde_json::json;

use crate::harness::{Cluster, Credential, TestNamespace, application, ensure, eventually};

#[tokio::test]
async fn q2_the_limits_of_the_operator_and_of_the_application_are_enforced() {
    let flags = ["--failed-authentications-per-minute", "60", "--hashes-per-second", "1"];
    let cluster = Cluster::dedicated_with(
        1,
        &[&flags[..], &["--token-requests-per-minute", "50", "--lockout-mode", "Disabled"]].concat(),
    );
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "rate-limits", json!({})).await;
    tenant.create_defaults().await;
    let blue = tenant.issue("blue").await;
    answers(&tenant, &blue, 200, "a first secret needs a hash").await;
    failures(&tenant, &blue).await;

    answers(&tenant, &blue, 429, "the default of the operator applies to token requests").await;
    let limit = |requests: u32| application("sync", "sync", json!({"token": {"requestsPerMinute": requests}}));
    tenant.apply(&limit(100_000)).await;
    answers(&tenant, &blue, 200, "the Application has a higher limit").await;
    tenant.apply(&limit(1)).await;
    answers(&tenant, &blue, 429, "the Application has a lower limit").await;
}

/// Somebody guesses secrets of the client from its address.
async fn failures(tenant: &TestNamespace, blue: &Credential) {
    let form = [("client_id", blue.key("client-id")), ("client_secret", "pst_wrong")];
    let url = format!("{}/oauth2/token", tenant.cluster.replicas[0].url);
    let guess = async || Credential::anonymous_post(&tenant.connections, &url, &form).await.0;
    let mut failures = 0;
    while guess().await == 401 {
        failures += 1;
        assert!(failures < 200, "never limited");
    }
    // The bucket of the address, that of the client there, and what they get back in the meantime.
    assert!((120..200).contains(&failures), "{failures}");
    let answer = blue.ask(&tenant.connections, &tenant.cluster.replicas[0].url, &[]).await.unwrap();
    assert_eq!(answer.status, 200, "the client is not affected: {answer:?}");
}

async fn answers(tenant: &TestNamespace, client: &Credential, status: u16, why: &str) {
    eventually(why, async || {
        let answer = client.ask(&tenant.connections, &tenant.cluster.replicas[0].url, &[]).await?;
        ensure(answer.status == status, format_args!("{answer:?}"))
    })
    .await;
}
