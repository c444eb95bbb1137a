//! `postern explain`: the real binary, with the rights of its user.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{
    Credential, TestNamespace, User, access_group, application, client_secret, ensure, eventually, service_user,
};

pub const BILLING: &str = "https://billing.example.com";

#[tokio::test]
async fn an_operator_reads_from_which_group_each_permission_comes_and_why_the_others_grant_nothing() {
    let tenant = TestNamespace::new("explain").await;
    let [readers, closed, elsewhere, missing] =
        ["readers", "closed", "elsewhere", "missing"].map(|it| tenant.unique_name(it));
    tenant.apply(&access_group(&readers, json!({}))).await;
    tenant.apply(&access_group(&closed, json!({"namespaces": {"names": ["another"]}}))).await;
    tenant.apply(&access_group(&elsewhere, json!({"location": "/apac"}))).await;
    tenant.apply(&service_user("sync", &[&readers, &closed, &elsewhere, &missing])).await;
    let only = json!({"restrictTo": {"scopes": ["invoices:read", "invoices:shred"]}});
    tenant.apply(&application("sync", "sync", only)).await;
    let credential = tenant.issue("blue").await;
    tenant.apply(&client_secret("revoked", "sync", json!({"revoke": true}))).await;
    tenant.switched_off("ClientSecret", "revoked", "Revoked", "Revoked").await;
    tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;

    let text = explained(&tenant, &["client", credential.key("client-id")]);
    let held = format!("  {BILLING}  invoices:read  billing.reader ({readers})\n");
    for said in [
        format!("Client {}\n", credential.key("client-id")),
        "active: billing.reader (Operational) at /emea/billing\n".to_owned(),
        format!("grants nothing, NamespaceNotAdmitted: AccessGroup {closed} does not admit namespace"),
        format!("grants nothing, OtherLocation: spec.groups: AccessGroup {elsewhere} is at /apac"),
        format!("grants nothing, NotFound: AccessGroup {missing} does not exist"),
        held,
        "Taken away by spec.restrictTo:".to_owned(),
        "contains an entry that is not granted; it has no effect: scopes: invoices:shred\n".to_owned(),
        "no, Revoked: spec.revoke is true".to_owned(),
    ] {
        assert!(text.contains(&said), "{said:?} is not in\n{text}");
    }

    let by_name = format!("{}/sync", tenant.namespace);
    let told: Value = serde_json::from_str(&explained(&tenant, &["client", &by_name, "--output", "json"])).unwrap();
    assert_eq!(told["clientId"], credential.key("client-id"));
    let standings: Vec<_> = told["groups"].as_array().unwrap().iter().map(|group| group["reason"].clone()).collect();
    let expected = json!([null, "NamespaceNotAdmitted", "OtherLocation", "NotFound"]);
    assert_eq!(json!(standings), expected);
    let permission = json!({
        "audience": BILLING, "scope": "invoices:read", "role": "billing.reader", "plane": "Operational", "groups": [readers],
    });
    assert_eq!(told["permissions"]["permissions"], json!([permission]));
    // Those of one second are in the order of their UIDs.
    let mut secrets = told["clientSecrets"].as_array().unwrap().iter();
    assert_eq!(secrets.find(|secret| secret["name"] == "blue").unwrap()["ready"]["active"], true, "{told:#}");
    assert_eq!(told["serviceUser"]["subject"], tenant.get("ServiceUser", "sync").await["metadata"]["uid"]);
}

#[tokio::test]
async fn the_author_of_a_group_sees_which_verbs_it_requires_and_which_of_them_are_missing() {
    let tenant = TestNamespace::new("explain-group").await;
    let group = tenant.unique_name("group");
    let permissions = json!([{"audience": BILLING, "scopes": ["invoices:read", "introspect"]}]);
    tenant.apply(&access_group(&group, json!({"permissions": permissions}))).await;
    let reader = User::person(&tenant, "reader").await;
    let not_yet = postern(&reader.kubeconfig(), &["group", &group], "");
    let problem = String::from_utf8(not_yet.stderr).unwrap();
    assert!(problem.contains("you may not list accessgroups.postern.dev in the cluster"), "{problem}");
    let reader =
        reader.with_role_everywhere("postern-accessgroup-reader", ("list", "postern.dev", "accessgroups")).await;
    reader.may("permit", "postern.dev", "audiences", &[BILLING]).await;
    let answer = text(postern(&reader.kubeconfig(), &["group", &group, "--output", "json"], ""));
    let explained_group: Value = serde_json::from_str(&answer).unwrap();
    let right = |verb: &str, resource: &str, name: &str, granted: bool| json!({"verb": verb, "resource": resource, "name": name, "granted": granted});
    let to_create = [
        right("grant", "roles", "billing.reader", false),
        right("permit", "audiences", BILLING, true),
        right("introspect", "audiences", BILLING, false),
    ];
    assert_eq!(explained_group["toCreate"], json!(to_create), "{explained_group:#}");
    assert_eq!(explained_group["toAdd"], json!([right("bind", "accessgroups", &group, false)]));
    assert_eq!(explained(&tenant, &["group", &group]).matches(" yes ").count(), 4, "an admin has all of them");
    let missing = postern(&reader.kubeconfig(), &["group", &tenant.unique_name("missing")], "");
    assert_eq!(
        (missing.status.code(), missing.stderr.as_slice()),
        (Some(1), &b"postern: no AccessGroup has this name\n"[..])
    );
}

#[tokio::test]
async fn a_closed_output_pipe_stops_the_command_without_an_error_message() {
    let tenant = TestNamespace::new("explain-head").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    for arguments in [&["crds"][..], &["explain", "client", credential.key("client-id")]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(arguments)
            .env("KUBECONFIG", tenant.cluster.controlplane.kubeconfig())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(141), "{arguments:?}: {done:?}");
        assert_eq!(String::from_utf8(done.stderr).unwrap(), "", "{arguments:?}");
    }
}

#[tokio::test]
async fn the_operator_s_own_rights_are_enough_and_status_is_up_to_date_when_settled() {
    let tenant = TestNamespace::new("explain-own").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let cluster = &tenant.cluster;
    let kubeconfig = cluster.operator_kubeconfig(&cluster.controlplane.address());
    eventually("status says what the objects do", async || {
        let answer = postern(&kubeconfig, &["client", credential.key("client-id"), "-o", "json"], "");
        let told: Value = serde_json::from_slice(&answer.stdout).map_err(|_| format!("{answer:?}"))?;
        let settled =
            told["application"]["status"]["upToDate"] == true && told["serviceUser"]["status"]["upToDate"] == true;
        ensure(settled && told["notes"] == json!([]), &told)
    })
    .await;
}

#[tokio::test]
async fn an_old_token_is_explained_by_what_has_changed_since() {
    let tenant = TestNamespace::new("explain-token").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let token = issued(&tenant, &credential).await;
    let text = from_stdin(&tenant, &token);
    assert!(
        text.contains("No reason to reject this token was found") && text.contains("Issued for    ClientSecret blue"),
        "{text}"
    );
    assert!(
        text.contains("(the signature is not checked here)") && text.contains("yes      billing.reader ("),
        "{text}"
    );
    assert!(!text.contains(&token), "a token is not printed");

    // Another service user, which holds nothing.
    tenant.apply(&service_user("other", &[])).await;
    tenant.apply(&application("sync", "other", json!({}))).await;
    let subject = tenant.get("ServiceUser", "other").await["metadata"]["uid"].clone();
    let text = from_stdin(&tenant, &token);
    let said = format!("The client acts for another service user now: {}/other, whose subject is", tenant.namespace);
    assert!(text.contains("Postern refuses it") && text.contains(&said), "{text}");
    assert!(text.contains(subject.as_str().unwrap()) && text.contains("An API that verifies it offline"), "{text}");
    assert!(
        text.contains(&format!("no       no group of ServiceUser {}/other permits it", tenant.namespace)),
        "{text}"
    );

    tenant.delete("Application", &tenant.namespace, "sync").await;
    eventually("the application is gone", async || {
        let gone = tenant.find("Application", &tenant.namespace, "sync").await.is_none();
        ensure(gone, "it is there")
    })
    .await;
    let text = from_stdin(&tenant, &token);
    assert!(text.contains("UnknownClient"), "{text}");
}

#[tokio::test]
async fn a_question_that_cannot_be_explained_fails_with_one_line_and_the_remedy() {
    let tenant = TestNamespace::new("explain-not").await;
    tenant.create_defaults().await;
    let admin = tenant.cluster.controlplane.kubeconfig();
    let nobody = User::person(&tenant, "nobody").await;
    let by_name = format!("{}/sync", tenant.namespace);
    let account = account(&tenant);
    let table: [(&Path, &[&str], i32, &str); 13] = [
        (&admin, &["client", "00000000-0000-4000-8000-000000000000"], 1, "no Application with this client id"),
        (&admin, &["client", "pst_sync"], 2, "by its client id, or by its Application as NAME or NAMESPACE/NAME"),
        (
            &admin,
            &["client", "sync"],
            1,
            "or name in namespace default was found, or you may not see it: correct it, or",
        ),
        (&admin, &["client", &by_name, "-n", "default"], 2, "--namespace is default and the client is named"),
        (&admin, &["client", &by_name, "--context", "nowhere"], 2, "correct --kubeconfig, --context or KUBECONFIG"),
        (&admin, &["client", &by_name, "--kubeconfig", "/nowhere"], 2, "correct --kubeconfig, --context or KUBECONFIG"),
        (
            &account,
            &["client", &by_name, "--as", "alice"],
            1,
            "you may not act as this user: ask for the verb impersonate",
        ),
        (
            &account,
            &["group", "readers", "--as", "alice"],
            1,
            "you may not act as this user: ask for the verb impersonate",
        ),
        (&nobody.kubeconfig(), &["audience", BILLING], 1, "or choose another namespace with --namespace (-n)"),
        (&admin, &["token", "pat_abcdefgh"], 2, "introspection"),
        (&admin, &["token", "abcdefgh"], 2, "no access token of Postern's"),
        (&nobody.kubeconfig(), &["client", &by_name], 1, "you may not list applications.postern.dev in namespace"),
        (&nobody.kubeconfig(), &["client", "00000000-0000-4000-8000-000000000000"], 1, "NAMESPACE/NAME"),
    ];
    for (kubeconfig, arguments, code, said) in table {
        let answer = postern(kubeconfig, arguments, "");
        let problem = String::from_utf8(answer.stderr).unwrap();
        assert_eq!(answer.status.code(), Some(code), "{arguments:?}: {problem}");
        assert!(problem.starts_with("postern: ") && problem.contains(said), "{arguments:?}: {problem}");
        assert_eq!(problem.lines().count(), 1, "{problem}");
        assert!(answer.stdout.is_empty());
    }
}

/// A kubeconfig of a ServiceAccount that may do nothing.
fn account(tenant: &TestNamespace) -> PathBuf {
    let (cluster, namespace) = (&tenant.cluster, &tenant.namespace);
    cluster.controlplane.run("kubectl", &["create", "serviceaccount", "somebody", "--namespace", namespace]);
    let token = cluster.controlplane.run("kubectl", &["create", "token", "somebody", "--namespace", namespace]);
    let of_operator = std::fs::read(cluster.operator_kubeconfig(&cluster.controlplane.address())).unwrap();
    let mut kubeconfig: Value = serde_json::from_slice(&of_operator).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
    let path = cluster.controlplane.scratch().join(tenant.unique_name("somebody.kubeconfig"));
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

#[tokio::test]
async fn the_flags_of_kubectl_choose_the_cluster_the_user_and_the_namespace() {
    let tenant = TestNamespace::new("explain-flags").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let controlplane = &tenant.cluster.controlplane;
    let (admin, namespace) = (controlplane.kubeconfig(), tenant.namespace.as_str());
    let kubeconfig = admin.to_str().unwrap();
    let client = format!("Client {}\n", credential.key("client-id"));
    let context = controlplane.run("kubectl", &["config", "current-context"]);
    let nowhere = Path::new("/nowhere");
    for arguments in [
        &["client", "sync", "--namespace", namespace, "--kubeconfig", kubeconfig][..],
        &["--kubeconfig", kubeconfig, "--context", context.trim(), "-n", namespace, "client", "sync"],
        &["client", &format!("{namespace}/sync"), "-n", namespace, "--kubeconfig", kubeconfig],
    ] {
        let told = text(postern(nowhere, arguments, ""));
        assert!(told.starts_with(&client), "{arguments:?}: {told}");
    }

    // The namespace of the context, and with the flag the rights of the other user alone.
    let viewer = User::person(&tenant, "viewer").await;
    let viewer = viewer.with_role("view", ("list", "postern.dev", "applications")).await;
    let seen = text(postern(&viewer.kubeconfig(), &["client", "sync"], ""));
    let as_viewer = text(postern(&admin, &["client", "sync", "-n", namespace, "--as", &viewer.name], ""));
    for told in [seen, as_viewer] {
        assert!(told.starts_with(&client) && told.contains("You may not read AccessGroups"), "{told}");
    }
    let nobody = tenant.unique_name("nobody");
    let refused = postern(&admin, &["client", "sync", "-n", namespace, "--as", &nobody], "");
    let problem = String::from_utf8(refused.stderr).unwrap();
    assert!(problem.contains("you may not list applications.postern.dev in namespace"), "{problem}");
    let members = ["--as", &nobody, "--as-group", "system:masters"];
    text(postern(&admin, &[&["client", "sync", "-n", namespace][..], &members].concat(), ""));
}

#[tokio::test]
async fn the_owner_of_an_api_reads_who_can_call_it() {
    let tenant = TestNamespace::new("explain-audience").await;
    let (group, namespace) = (tenant.unique_name("readers"), tenant.namespace.clone());
    let api = format!("https://{namespace}.example.com");
    let permissions = json!([{"audience": api, "scopes": ["read", "write"]}]);
    tenant.apply(&access_group(&group, json!({"permissions": permissions}))).await;
    tenant.apply(&service_user("sync", &[&group])).await;
    tenant.apply(&service_user("other", &[])).await;
    tenant.apply(&application("sync", "sync", json!({}))).await;
    tenant.apply(&application("other", "other", json!({}))).await;
    tenant.issue("blue").await;
    for (name, spec) in [
        ("reads", json!({"restrictTo": {"scopes": ["read"]}})),
        ("away", json!({"restrictTo": {"audiences": [BILLING]}})),
        ("revoked", json!({"revoke": true})),
    ] {
        tenant.apply(&client_secret(name, "sync", spec)).await;
    }
    tenant.ready("ClientSecret", "reads").await;
    tenant.switched_off("ClientSecret", "revoked", "Revoked", "Revoked").await;

    let rows = |text: &str| {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> = text.lines().filter(|line| line.contains("/sync ")).map(words).collect();
        rows.sort();
        rows
    };
    let [blue, reads, revoked] =
        [("blue", "yes", "read write"), ("reads", "yes", "read"), ("revoked", "no, Revoked", "read write")]
            .map(|(name, active, scopes)| format!("{namespace}/sync {namespace}/sync {name} {active} never {scopes}"));
    let expected = [blue, reads, revoked];
    assert_eq!(rows(&explained(&tenant, &["audience", &api])), expected);
    let told: Value = serde_json::from_str(&explained(&tenant, &["audience", &api, "-o", "json"])).unwrap();
    let caller = &told["callers"][0];
    assert_eq!(told["callers"].as_array().unwrap().len(), 1, "{told:#}");
    assert_eq!(caller["application"], format!("{namespace}/sync"));
    assert_eq!(caller["clientId"], tenant.get("Application", "sync").await["status"]["clientId"], "{told:#}");
    assert_eq!(caller["scopes"], json!(["read", "write"]));
    assert_eq!(caller["serviceUser"]["subject"], tenant.get("ServiceUser", "sync").await["metadata"]["uid"]);

    // One namespace: by the flag, and for a user who may view no other, with a message about that.
    assert_eq!(rows(&explained(&tenant, &["audience", &api, "-n", &namespace])), expected);
    let none = explained(&tenant, &["audience", &api, "--namespace", "default"]);
    assert!(none.contains("\n  none\n"), "{none}");
    let viewer = User::person(&tenant, "viewer").await;
    let viewer = viewer.with_role("view", ("list", "postern.dev", "applications")).await;
    eventually("status says what is held", async || {
        let told = text(postern(&viewer.kubeconfig(), &["audience", &api], ""));
        ensure(rows(&told) == expected, &told)?;
        ensure(told.contains(&format!("only those of {namespace} were read")), &told)?;
        ensure(told.contains("You may not read AccessGroups"), &told)
    })
    .await;
}

#[tokio::test]
async fn a_user_who_may_only_view_the_namespace_gets_the_groups_recorded_in_status() {
    let tenant = TestNamespace::new("explain-view").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let viewer = User::person(&tenant, "viewer").await;
    let viewer = viewer.with_role("view", ("list", "postern.dev", "applications")).await;
    let answer = postern(&viewer.kubeconfig(), &["client", &format!("{}/sync", tenant.namespace)], "");
    let text = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    for said in [
        "active (from the status of the service user): billing.reader (Operational) at /emea/billing",
        "Permissions of the Application (from status)",
        "You may not read AccessGroups",
        "You may not list Applications in all namespaces",
        credential.key("client-id"),
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert!(!text.contains("You may not read Namespace"), "{text}");

    // By client id in the namespace of the kubeconfig; what is not there may be elsewhere, so nothing is said of it.
    let by_id = self::text(postern(&viewer.kubeconfig(), &["client", credential.key("client-id")], ""));
    // How long a credential still lasts is less the second time.
    let lasting = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" (in ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(lasting(&by_id), lasting(&text));
    let elsewhere = TestNamespace::new("explain-out-of-sight").await;
    elsewhere.create_defaults().await;
    let token = issued(&elsewhere, &elsewhere.issue("blue").await).await;
    let answer = postern(&viewer.kubeconfig(), &["token", "-"], &token);
    let problem = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(answer.status.code(), Some(1), "{problem}");
    assert!(problem.contains("or you may not see it"), "{problem}");
}

/// The replicas report which methods their settings admit; these request no certificates.
#[tokio::test]
async fn a_method_that_the_operator_does_not_admit_is_not_accepted() {
    let tenant = TestNamespace::new("explain-methods").await;
    tenant.create_defaults().await;
    let auth = json!({
        "methods": ["client_secret_basic", "tls_client_auth"], "certificates": [{"sanDns": "sync.example.com"}],
    });
    tenant.apply(&application("sync", "sync", json!({"auth": auth}))).await;
    tenant.issue("blue").await;
    let name = format!("{}/sync", tenant.namespace);
    let line = |text: &str, method: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(method));
        line.unwrap_or_else(|| panic!("no {method} in\n{text}"))
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let told = explained(&tenant, &["client", &name]);
    assert_eq!(line(&told, "tls_client_auth"), "not accepted: the settings of the operator do not admit it");
    assert_eq!(line(&told, "client_secret_basic"), "accepted: ClientSecrets blue");
    // A tenant may not read what the replicas report.
    let viewer = User::person(&tenant, "viewer").await;
    let viewer = viewer.with_role("view", ("list", "postern.dev", "applications")).await;
    let told = text(postern(&viewer.kubeconfig(), &["client", &name], ""));
    let unknown = "accepted: certificates of the operator's CAs with sanDns sync.example.com, if the operator accepts certificates";
    assert_eq!(line(&told, "tls_client_auth"), unknown);
}

/// A token of the first replica.
async fn issued(tenant: &TestNamespace, credential: &Credential) -> String {
    let answers = tenant.ask_settled(credential, &[], None).await;
    answers[0].body["access_token"].as_str().unwrap().to_owned()
}

/// The output for an admin.
pub fn explained(tenant: &TestNamespace, arguments: &[&str]) -> String {
    let kubeconfig = tenant.cluster.controlplane.kubeconfig();
    text(postern(&kubeconfig, arguments, ""))
}

/// The output for an admin, of a token on standard input.
fn from_stdin(tenant: &TestNamespace, token: &str) -> String {
    text(postern(&tenant.cluster.controlplane.kubeconfig(), &["token", "-"], token))
}

fn text(answer: Output) -> String {
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).unwrap()
}

/// Runs `postern explain`.
pub fn postern(kubeconfig: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    // A proxy that leads nowhere: this machine is reached without one.
    command.arg("explain").args(arguments).env("KUBECONFIG", kubeconfig).env("HTTPS_PROXY", "http://127.0.0.1:9");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
