//! What the chart renders, and the program and the cluster that it is for.

use clap::Parser as _;
use postern::cli::Cli;
use serde_json::{Value, json};

use crate::harness::{Cluster, checkout};

/// With enough rights for a Pod of the chart, and no more than a restricted one may have.
const RESTRICTED: &str = "chart-restricted";

#[tokio::test]
async fn the_program_accepts_the_arguments_of_the_chart_and_a_restricted_namespace_its_pod() {
    let cluster = Cluster::installed();
    let kubernetes = cluster.kubernetes().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RESTRICTED, "labels": labels}});
    kubernetes.apply("", &namespace).await;
    let values: Vec<_> = std::fs::read_dir(checkout().join("charts/postern/ci")).unwrap().collect();
    assert!(values.len() > 2, "{values:?}");
    for values in values.into_iter().map(|file| file.unwrap().path()) {
        let values = values.to_str().unwrap();
        for mut deployment in rendered(&cluster, values) {
            let pod = deployment["spec"]["template"]["spec"].take();
            let arguments =
                pod["containers"][0]["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
            let parsed = Cli::try_parse_from(std::iter::once("postern").chain(arguments));
            assert!(parsed.is_ok(), "{values}: {}", parsed.unwrap_err());

            let account =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": pod["serviceAccountName"]}});
            kubernetes.apply(RESTRICTED, &account).await;
            let name = &deployment["metadata"]["name"];
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod});
            let created = kubernetes.try_create(RESTRICTED, &pod).await;
            created.unwrap_or_else(|refusal| panic!("{values}: {refusal}"));
        }
    }
}

/// The kubelet reaches health from the node, without a rule; metrics are for the clients in the values.
#[test]
fn the_network_policies_admit_only_the_intended_clients_of_each_process() {
    let cluster = Cluster::installed();
    let policies = |values: &[&str]| -> Vec<Value> {
        let values = [&["issuer=https://postern.example.com"], values].concat().join(" --set ");
        rendered_with(&cluster, &format!("--set {values}"), "networkpolicy")
    };
    let admitted = |policy: &Value, port: &str| -> Vec<Value> {
        let rules = policy["spec"]["ingress"].as_array().cloned().unwrap_or_default();
        rules.into_iter().filter(|rule| rule["ports"] == json!([{"port": port}])).collect()
    };
    let default = policies(&[]);
    assert_eq!(default.len(), 2, "one for each process");
    let labelled = json!([
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"postern.dev/metrics": "allowed"}}},
    ]);
    for (policy, serves) in default.iter().zip([true, false]) {
        let component = &policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"];
        assert_eq!(component, if serves { "serve" } else { "control" });
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(admitted(policy, "token").len(), usize::from(serves));
        assert_eq!(admitted(policy, "health"), Vec::<Value>::new());
        let metrics = admitted(policy, "metrics");
        assert_eq!(metrics.iter().map(|rule| &rule["from"]).collect::<Vec<_>>(), [&labelled]);
    }
    // An empty list of peers would admit everybody.
    for policy in policies(&["networkPolicy.metricsFrom=null"]) {
        assert_eq!(admitted(&policy, "metrics"), Vec::<Value>::new());
    }
}

/// `null` leaves the number to `kubectl scale` or an autoscaler.
#[test]
fn a_number_of_replicas_that_is_null_is_left_out() {
    let cluster = Cluster::installed();
    for (values, replicas) in [
        ("mode=Split", vec![json!(2), json!(2)]),
        ("mode=Split,replicaCount=null", vec![Value::Null, json!(2)]),
        ("mode=Split,control.replicaCount=null", vec![json!(2), Value::Null]),
        ("mode=Split,replicaCount=0,control.replicaCount=3", vec![json!(0), json!(3)]),
        ("mode=Single", vec![json!(2)]),
        ("mode=Single,replicaCount=null", vec![Value::Null]),
    ] {
        let deployments = deployments(&cluster, &format!("--set {values}"));
        let rendered: Vec<_> = deployments.iter().map(|deployment| &deployment["spec"]["replicas"]).collect();
        assert_eq!(rendered, replicas.iter().collect::<Vec<_>>(), "{values}");
    }
    assert!(refusal(&cluster, "--set replicaCount=-1").contains("/replicaCount"));
}

/// The scheduler ignores all soft constraints on nodes that lack one of their labels, such as that of a zone.
#[test]
fn replicas_prefer_other_nodes_whether_or_not_nodes_have_a_zone() {
    let cluster = Cluster::installed();
    for mode in ["Split", "Single"] {
        let mode = format!("--set mode={mode}");
        for deployment in deployments(&cluster, &mode) {
            let own = &deployment["spec"]["selector"];
            let pod = &deployment["spec"]["template"]["spec"];
            let constraints = pod["topologySpreadConstraints"].as_array().unwrap();
            let keys: Vec<_> = constraints.iter().map(|constraint| &constraint["topologyKey"]).collect();
            assert_eq!(keys, ["kubernetes.io/hostname"]);
            assert_eq!(&constraints[0]["labelSelector"], own);
            let terms = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
            assert_eq!(terms[0]["podAffinityTerm"]["topologyKey"], "topology.kubernetes.io/zone");
            assert_eq!(&terms[0]["podAffinityTerm"]["labelSelector"], own);
            assert_eq!(pod["affinity"]["podAntiAffinity"].as_object().unwrap().len(), 1, "nothing is required");
        }
        let constraint = json!([{"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]);
        let node = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}});
        let affinity = json!({"nodeAffinity": node, "podAntiAffinity": {}});
        let own = format!(
            "{mode} --set-json 'topologySpreadConstraints={constraint}' --set-json 'affinity={affinity}' \
             --set-json 'nodeSelector={{}}'"
        );
        for deployment in deployments(&cluster, &own) {
            let pod = &deployment["spec"]["template"]["spec"];
            assert_eq!(pod["topologySpreadConstraints"], constraint);
            assert_eq!(pod["affinity"], affinity);
        }
        let only_nodes = format!("{mode} --set-json 'affinity={}'", json!({"nodeAffinity": node}));
        for deployment in deployments(&cluster, &only_nodes) {
            let affinity = &deployment["spec"]["template"]["spec"]["affinity"];
            assert_eq!(affinity["nodeAffinity"], node);
            assert!(affinity["podAntiAffinity"].is_object(), "the other rule stays: {affinity}");
        }
    }
}

#[test]
fn the_log_level_may_be_directives_that_the_program_accepts() {
    let cluster = Cluster::installed();
    for level in ["off", "warn", "info,postern::controller=debug", "warn,postern::audit=info", "kube=off,postern=trace"]
    {
        let escaped = level.replace(',', "\\,");
        for deployment in deployments(&cluster, &format!("--set 'logLevel={escaped}'")) {
            let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
            let arguments: Vec<String> = serde_json::from_value(arguments).unwrap();
            assert!(arguments.contains(&format!("--log-level={level}")), "{arguments:?}");
            tracing_subscriber::EnvFilter::builder().parse(level).expect(level);
        }
    }
    for level in ["", "inof", "info\\,", "postern=loud", "a=b=c", "postern"] {
        let refused = refusal(&cluster, &format!("--set 'logLevel={level}'"));
        assert!(refused.contains("/logLevel"), "{level}: {refused}");
    }
}

/// With one of these the operator would take its own Secret for one of yours.
#[test]
fn a_certificate_of_yours_may_not_have_the_name_of_a_secret_of_the_operator() {
    let cluster = Cluster::installed();
    for mode in ["Split", "Single"] {
        for name in ["postern-tls", "postern-install-key", "postern-signing-keys", "postern-token-keys"] {
            let refused = refusal(&cluster, &format!("--set mode={mode},tls.secretName={name}"));
            assert!(refused.contains(&format!("tls.secretName: Postern writes the Secret {name} itself")), "{refused}");
            assert!(refused.contains("Name your Secret differently"), "{refused}");
        }
        let named = deployments(&cluster, &format!("--set mode={mode},tls.secretName=postern-tls-2"));
        let volume = &named[0]["spec"]["template"]["spec"]["volumes"][0];
        assert_eq!(volume["secret"]["secretName"], "postern-tls-2");
    }
}

#[test]
fn the_port_for_certificates_is_open_only_if_it_is_enabled_and_its_settings_must_be_complete() {
    let cluster = Cluster::installed();
    let enabled = "--set mtls.enabled=true,mtls.url=https://mtls.example.com";
    for (flags, open) in [("", false), (enabled, true)] {
        let pods = deployments(&cluster, flags);
        let opened =
            |pod: &Value| pod["spec"]["template"]["spec"]["containers"][0]["ports"].to_string().contains("mtls");
        assert_eq!(pods.iter().map(opened).collect::<Vec<_>>(), [open, false], "only the process that serves");
        for template in ["service", "networkpolicy"] {
            let values = format!("--set issuer=https://postern.example.com {flags}");
            let rendered = rendered_with(&cluster, &values, template);
            assert_eq!(rendered[0].to_string().contains("\"mtls\""), open, "{template}");
        }
    }
    for (flags, problem) in [
        ("--set mtls.enabled=true", "mtls.url: set the URL"),
        ("--set mtls.enabled=true,mtls.url=https://a.example.com,insecureHttp=true", "mtls.enabled and insecureHttp"),
        ("--set clientCertHeader=client-cert", "clientCertHeader needs trustedProxies"),
    ] {
        let refused = refusal(&cluster, flags);
        assert!(refused.contains(problem), "{refused}");
    }
}

/// The Deployments of these flags of Helm.
fn deployments(cluster: &Cluster, flags: &str) -> Vec<Value> {
    rendered_with(cluster, &format!("--set issuer=https://postern.example.com {flags}"), "deployment")
}

/// What Helm says when it refuses these flags.
fn refusal(cluster: &Cluster, flags: &str) -> String {
    let chart = checkout().join("charts/postern");
    let render =
        format!("helm template postern '{}' --set issuer=https://postern.example.com {flags}", chart.display());
    cluster.controlplane.shell(&format!("if {render} 2>&1; then echo 'it is taken' && exit 1; fi"))
}

/// The Deployments.
fn rendered(cluster: &Cluster, values: &str) -> Vec<Value> {
    rendered_with(cluster, &format!("--values '{values}'"), "deployment")
}

/// What a template of the chart makes of these values.
fn rendered_with(cluster: &Cluster, values: &str, template: &str) -> Vec<Value> {
    let chart = checkout().join("charts/postern");
    let render = format!(
        "helm template postern '{}' {values} --show-only templates/{template}.yaml |
         kubectl create --dry-run=client --output json --filename -",
        chart.display()
    );
    let printed = cluster.controlplane.shell(&render);
    serde_json::Deserializer::from_str(&printed).into_iter().map(|object| object.unwrap()).collect()
}

#[test]
fn the_process_that_writes_secrets_gets_the_ca_of_your_certificate_and_not_its_key() {
    let cluster = Cluster::installed();
    let tls = "tls.secretName=my-certificate";
    let flag = |deployment: &Value| {
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
        arguments.iter().find_map(|argument| Some(argument.as_str()?.strip_prefix("--ca-file=")?.to_owned()))
    };
    let files = |mode: &str| {
        let deployments = deployments(&cluster, &format!("--set mode={mode},{tls}"));
        deployments.into_iter().filter_map(|it| flag(&it).map(|file| (file, it))).collect::<Vec<_>>()
    };
    let [(file, _)] = &files("Single")[..] else { panic!("one process does everything") };
    assert_eq!(file, "/etc/postern/tls/ca.crt");
    let [(file, control)] = &files("Split")[..] else { panic!("one component writes Secrets") };
    assert_eq!(file, "/etc/postern/ca/ca.crt");
    let pod = &control["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/etc/postern/ca");
    let secret = &pod["volumes"][0]["secret"];
    assert_eq!(secret["secretName"], "my-certificate");
    assert_eq!(secret["items"], json!([{"key": "ca.crt", "path": "ca.crt"}]));
    assert_eq!(secret["optional"], true, "a certificate of a public CA comes without it");
}
