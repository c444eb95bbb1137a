//! References to objects that are missing, closed, elsewhere or taken: one sentence, and an event resolves them.

use serde_json::json;

use crate::harness::{
    TestNamespace, access_group, application, client_secret, condition, ensure, eventually, object, service_user,
};

#[tokio::test]
async fn a_reference_to_a_missing_object_is_reported_and_resolves_when_the_object_is_created() {
    let tenant = TestNamespace::new("missing").await;
    tenant.apply(&client_secret("blue", "sync", json!({}))).await;
    let message = tenant.wait_not_ready("ClientSecret", "blue", "ApplicationNotFound").await;
    assert!(message.contains("spec.applicationRef") && message.contains("Application sync"), "{message}");

    tenant.apply(&application("sync", "sync", json!({}))).await;
    let message = tenant.wait_not_ready("Application", "sync", "ServiceUserNotFound").await;
    assert!(message.contains("spec.serviceUserRef") && message.contains("ServiceUser sync"), "{message}");
    tenant.wait_condition("Application", "sync", "ServiceUserResolved", "False", "ServiceUserNotFound").await;
    tenant.wait_condition("Application", "sync", "Reconciling", "True", "ServiceUserNotFound").await;
    tenant.wait_not_ready("ClientSecret", "blue", "ApplicationNotReady").await;

    let group = tenant.unique_name("readers");
    tenant.apply(&service_user("sync", &[&group])).await;
    let message = tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;
    assert!(message.contains("spec.groups") && message.contains(&group), "{message}");
    // Groups that do not resolve do not change the application; the client just holds nothing.
    tenant.ready("Application", "sync").await;
    tenant.ready("ClientSecret", "blue").await;
    let credential = tenant.delivered("blue").await;
    tenant.answers_everywhere(&credential, &[], "400 invalid_scope").await;

    tenant.apply(&access_group(&group, json!({}))).await;
    tenant.ready("ServiceUser", "sync").await;
    tenant.wait_condition("ServiceUser", "sync", "GroupsResolved", "True", "").await;
    for claims in tenant.accepted(&credential).await {
        assert_eq!(claims["roles"], json!(["billing.reader"]));
    }
}

#[tokio::test]
async fn a_missing_group_and_one_that_does_not_admit_the_namespace_have_the_same_message() {
    let tenant = TestNamespace::new("closed").await;
    let (missing, closed) = (tenant.unique_name("missing"), tenant.unique_name("closedxx"));
    tenant.apply(&access_group(&closed, json!({"namespaces": {"names": ["another"]}}))).await;
    tenant.apply(&service_user("one", &[&missing])).await;
    tenant.apply(&service_user("two", &[&closed])).await;
    let of_missing = tenant.wait_not_ready("ServiceUser", "one", "GroupsNotResolved").await;
    let of_closed = tenant.wait_not_ready("ServiceUser", "two", "GroupsNotResolved").await;
    assert_eq!(of_missing.replace(&missing, "NAME"), of_closed.replace(&closed, "NAME"));
}

#[tokio::test]
async fn a_group_admits_no_namespace_by_default_and_then_those_it_names_or_selects() {
    let tenant = TestNamespace::new("admission").await;
    let group = tenant.unique_name("readers");
    let mut closed = access_group(&group, json!({}));
    closed["spec"].as_object_mut().unwrap().remove("namespaces");
    tenant.apply(&closed).await;
    tenant.apply(&service_user("sync", &[&group])).await;
    tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;

    tenant.apply(&access_group(&group, json!({"namespaces": {"names": [tenant.namespace]}}))).await;
    tenant.ready("ServiceUser", "sync").await;

    tenant.apply(&access_group(&group, json!({"namespaces": {"selector": {"matchLabels": {"team": "x"}}}}))).await;
    tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;
    let label = |team: &str| json!({"metadata": {"labels": {"team": team}}});
    tenant.merge("Namespace", "", &tenant.namespace, label("x")).await.unwrap();
    tenant.ready("ServiceUser", "sync").await;
    tenant.merge("Namespace", "", &tenant.namespace, label("y")).await.unwrap();
    tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;
}

#[tokio::test]
async fn a_group_of_another_location_is_reported_and_the_others_stay_active() {
    let tenant = TestNamespace::new("location").await;
    let (near, far) = (tenant.unique_name("near"), tenant.unique_name("far"));
    tenant.apply(&access_group(&near, json!({}))).await;
    tenant.apply(&access_group(&far, json!({"location": "/emea", "role": "far"}))).await;
    tenant.apply(&service_user("sync", &[&near, &far])).await;
    let message = tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;
    assert!(message.contains(&far) && message.contains("/emea") && !message.contains(&near), "{message}");
    assert_eq!(tenant.get("ServiceUser", "sync").await["status"]["roles"], json!(["billing.reader"]));

    tenant.apply(&application("sync", "sync", json!({}))).await;
    tenant.apply(&client_secret("blue", "sync", json!({}))).await;
    tenant.ready("ClientSecret", "blue").await;
    for claims in tenant.accepted(&tenant.delivered("blue").await).await {
        assert_eq!(claims["roles"], json!(["billing.reader"]));
    }

    tenant.apply(&access_group(&far, json!({"location": "/emea", "role": "far", "reach": "Subtree"}))).await;
    tenant.ready("ServiceUser", "sync").await;
    assert_eq!(tenant.get("ServiceUser", "sync").await["status"]["roles"], json!(["billing.reader", "far"]));
}

#[tokio::test]
async fn a_namespace_with_a_location_admits_only_service_users_at_or_below_it() {
    let metadata = json!({"annotations": {"postern.dev/location": "/emea/billing"}});
    let tenant = TestNamespace::on(crate::harness::Cluster::shared(), "bound", metadata).await;
    let user = |location: &str| object("ServiceUser", "sync", json!({"location": location}));
    tenant.apply(&user("/emea/billing-2")).await;
    let message = tenant.wait_not_ready("ServiceUser", "sync", "LocationNotAllowed").await;
    assert!(message.contains("spec.location /emea/billing-2") && message.contains(&tenant.namespace), "{message}");
    for location in ["/emea/billing", "/emea/billing/batch"] {
        tenant.apply(&user(location)).await;
        tenant.ready("ServiceUser", "sync").await;
    }
    let moved = json!({"metadata": {"annotations": {"postern.dev/location": "/apac"}}});
    tenant.merge("Namespace", "", &tenant.namespace, moved).await.unwrap();
    tenant.wait_not_ready("ServiceUser", "sync", "LocationNotAllowed").await;
    let malformed = json!({"metadata": {"annotations": {"postern.dev/location": "/EMEA"}}});
    tenant.merge("Namespace", "", &tenant.namespace, malformed).await.unwrap();
    eventually("it says which annotation is wrong", async || {
        let message = tenant.wait_not_ready("ServiceUser", "sync", "LocationNotAllowed").await;
        let named =
            format!("Namespace {} has an annotation postern.dev/location that is not a location", tenant.namespace);
        ensure(message.contains(&named) && message.contains("correct the annotation"), message)
    })
    .await;
}

#[tokio::test]
async fn a_client_without_permissions_reports_that_with_the_reason() {
    let tenant = TestNamespace::new("nothing-held").await;
    let group = tenant.unique_name("readers");
    tenant.apply(&service_user("sync", &[&group])).await;
    tenant.apply(&application("sync", "sync", json!({}))).await;
    let credential = tenant.issue("blue").await;
    let kinds = [("ServiceUser", "sync"), ("Application", "sync"), ("ClientSecret", "blue")];
    let permitted = async |expected: [&str; 3]| {
        for ((kind, name), why) in kinds.into_iter().zip(expected) {
            let (status, reason) = if why.is_empty() { ("True", "HasPermissions") } else { ("False", "NoPermissions") };
            // What another object changes is said of the same generation.
            eventually(format_args!("Permitted of {kind} {name} says why: {why}"), async || {
                let said = tenant.wait_condition(kind, name, "Permitted", status, reason).await;
                ensure(said["message"].as_str().unwrap().contains(why), said)
            })
            .await;
        }
    };
    let by_user = "ServiceUser sync has none: see its condition Permitted";
    let by_application = "Application sync has none: see its condition Permitted";
    permitted([&format!("AccessGroup {group} does not exist"), by_user, by_application]).await;
    for (kind, name) in kinds {
        let ready = tenant.get(kind, name).await;
        let ready = condition(&ready, "Ready").unwrap();
        let hint = ready["message"].as_str().unwrap().contains("It has no permission");
        assert!(hint || ready["reason"] == "GroupsNotResolved", "{ready}");
    }
    tenant.answers_everywhere(&credential, &[], "400 invalid_scope").await;

    tenant.apply(&access_group(&group, json!({}))).await;
    permitted(["", "", ""]).await;
    tenant.accepted(&credential).await;

    // A typing mistake.
    let mistaken = json!({"restrictTo": {"scopes": ["invoice:read"]}});
    tenant.apply(&client_secret("blue", "sync", mistaken.clone())).await;
    permitted(["", "", "spec.restrictTo leaves none of the permissions of Application sync"]).await;
    tenant.apply(&application("sync", "sync", mistaken)).await;
    permitted(["", "spec.restrictTo leaves none of the permissions of ServiceUser sync", by_application]).await;
    tenant.apply(&application("sync", "sync", json!({}))).await;
    tenant.apply(&client_secret("blue", "sync", json!({}))).await;
    permitted(["", "", ""]).await;

    tenant.apply(&service_user("sync", &[])).await;
    permitted(["spec.groups names no AccessGroup", by_user, by_application]).await;
}

#[tokio::test]
async fn a_client_id_belongs_to_the_oldest_application_that_claims_it() {
    let (first, second) = (TestNamespace::new("first").await, TestNamespace::new("second").await);
    first.create_defaults().await;
    second.create_defaults().await;
    // The UID of another tenant's application is the client id of that application.
    let victim = first.get("Application", "sync").await;
    second.later_than(&victim).await;
    let taken = victim["metadata"]["uid"].clone();
    second.apply(&application("thief", "sync", json!({"clientId": taken}))).await;
    let message = second.wait_not_ready("Application", "thief", "ClientIdTaken").await;
    assert!(message.contains("spec.clientId") && !message.contains(&first.namespace), "{message}");
    second.apply(&client_secret("blue", "thief", json!({}))).await;
    second.wait_not_ready("ClientSecret", "blue", "ApplicationNotReady").await;
    assert!(second.find("Secret", &second.namespace, "blue").await.is_none(), "nothing is delivered");
    let credential = first.issue("blue").await;
    first.accepted(&credential).await;

    first.delete("Application", &first.namespace, "sync").await;
    first.wait_rejected(&credential).await;
    second.ready("Application", "thief").await;
    second.ready("ClientSecret", "blue").await;
}

#[tokio::test]
async fn a_chosen_client_id_belongs_to_the_oldest_application_and_another_letter_case_is_another_id() {
    let (first, second) = (TestNamespace::new("chosen").await, TestNamespace::new("copied").await);
    first.create_defaults().await;
    second.create_defaults().await;
    let id = format!("{}.Prod~1", first.namespace);
    first.apply(&application("owner", "sync", json!({"clientId": id}))).await;
    first.ready("Application", "owner").await;
    second.later_than(&first.get("Application", "owner").await).await;
    second.apply(&application("thief", "sync", json!({"clientId": id}))).await;
    let message = second.wait_not_ready("Application", "thief", "ClientIdTaken").await;
    assert!(
        message.contains(&format!("spec.clientId {id} belongs to an Application of another namespace")),
        "{message}"
    );

    let lower = id.to_lowercase();
    second.apply(&application("lower", "sync", json!({"clientId": lower}))).await;
    second.ready("Application", "lower").await;
    first.apply(&client_secret("blue", "owner", json!({}))).await;
    second.apply(&client_secret("blue", "lower", json!({}))).await;
    for (tenant, id) in [(&first, &id), (&second, &lower)] {
        tenant.ready("ClientSecret", "blue").await;
        for claims in tenant.accepted(&tenant.delivered("blue").await).await {
            assert_eq!(claims["client_id"], **id);
        }
    }
    // Nor may a client have the id of a subject.
    let subject = first.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    second.apply(&application("subject", "sync", json!({"clientId": subject}))).await;
    let message = second.wait_not_ready("Application", "subject", "ClientIdTaken").await;
    assert!(message.contains("belongs to a ServiceUser, as its subject: create another"), "{message}");
}

#[tokio::test]
async fn an_application_may_change_its_service_user() {
    let tenant = TestNamespace::new("change").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    tenant.apply(&service_user("other", &[&tenant.unique_name("readers")])).await;
    tenant.ready("ServiceUser", "other").await;
    tenant.apply(&application("sync", "other", json!({}))).await;
    tenant.ready("Application", "sync").await;
    let other = tenant.get("ServiceUser", "other").await["metadata"]["uid"].clone();
    crate::harness::eventually("every replica grants the new subject", async || {
        let claims = tenant.accepted(&credential).await;
        crate::harness::ensure(claims.iter().all(|claims| claims["sub"] == other), format_args!("{claims:?}"))
    })
    .await;
}
