//! The crate `oauth2` requests a token: argument `basic` or `post`. Environment as for the other clients. Prints the
//! scope of the response to stdout as JSON; the crate has parsed and checked it.

use std::env::{self, VarError};
use std::error::Error;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use oauth2::basic::BasicClient;
use oauth2::http::Response;
use oauth2::{AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, Scope, TokenResponse, TokenUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let token_uri = variable("TOKEN_URI")?.replace(&variable("ISSUER_URI")?, &variable("REPLICA")?);
    let post = env::args().nth(1).as_deref() == Some("post");
    let client = BasicClient::new(ClientId::new(variable("CLIENT_ID")?))
        .set_client_secret(ClientSecret::new(variable("CLIENT_SECRET")?))
        .set_auth_type(if post { AuthType::RequestBody } else { AuthType::BasicAuth })
        .set_token_uri(TokenUrl::new(token_uri)?);
    let answer = client
        .exchange_client_credentials()
        .add_scope(Scope::new("invoices:read".to_owned()))
        .add_extra_param("resource", variable("AUDIENCE")?)
        .request(&curl)?;
    let lifetime = answer.expires_in().ok_or("no expires_in")?;
    let scope = answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
    println!(r#"{{"scope": "{}", "expires_in": {}}}"#, scope.unwrap_or_default(), lifetime.as_secs());
    Ok(())
}

fn variable(name: &str) -> Result<String, VarError> {
    env::var(name)
}

/// Sends one request with curl, which trusts the CA of `SSL_CERT_FILE`.
fn curl(request: HttpRequest) -> Result<HttpResponse, io::Error> {
    let mut command = Command::new("curl");
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--write-out", "%{stderr}%{http_code}"]);
    command.args(["--cacert", &env::var("SSL_CERT_FILE").unwrap_or_default(), "--request", request.method().as_str()]);
    for (name, value) in request.headers() {
        command.arg("--header").arg(format!("{name}: {}", value.to_str().map_err(io::Error::other)?));
    }
    command.args(["--data-binary", "@-", &request.uri().to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(request.body())?;
    let output = child.wait_with_output()?;
    let status = String::from_utf8_lossy(&output.stderr).parse::<u16>().map_err(io::Error::other)?;
    // The crate reads the status, the media type and the body.
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(output.stdout).map_err(io::Error::other)
}
