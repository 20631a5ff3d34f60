//! Signs in with an OAuth provider, as a command-line tool does (RFC 8252): prints the provider's URL, waits for one
//! callback on a free port, and exits. The provider is made up, so play its part:
//!
//! Run it with `cargo run -p amboss-toolkit --features json --example oauth_callback [address [seconds]]`, and try, with
//! the port and the state that it prints:
//!
//! ```text
//! curl -i 'localhost:PORT/callback?state=wrong'
//! curl 'localhost:PORT/callback?state=STATE&id_token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.'
//! ```

use std::error::Error;
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::Arc;
use std::time::Duration;

use amboss_core::{make_server, Address, Concurrency, NoLog, Settings};
use amboss_toolkit::routing::Router;
use amboss_toolkit::{request_app, HttpError, Request, Response};
use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{digest, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

type Outcome = Result<Value, String>; // the claims of the token, or the error that the provider reports

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: Address = arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let seconds: u64 = arguments.next().as_deref().unwrap_or("120").parse()?;
    let (state, verifier) = (random_text()?, random_text()?);
    let (sender, received) = sync_channel(1);
    let expected = state.clone();
    let callback = request_app(move |request| callback(request, &expected, &sender));
    let mut settings = Settings::default();
    // The query holds the token, which belongs in no log.
    settings.log = Arc::new(NoLog);
    let app = Router::builder().get("/callback", callback).build()?;
    let mut server = make_server(&[address], app, Concurrency::Threads, settings)?;
    let redirect_uri = format!("http://{}/callback", server.local_addrs()[0]);
    println!("Open this URL in a browser:\n{}", authorization_url(&redirect_uri, &state, &verifier));

    let handle = server.shutdown_handle();
    let thread = std::thread::spawn(move || server.serve_forever());
    let outcome = received.recv_timeout(Duration::from_secs(seconds));
    handle.shutdown(); // the response to the callback is sent first
    thread.join().map_err(|_| "the server has panicked")??;
    let claims = outcome.map_err(|_| format!("no callback arrived within {seconds} seconds"))??;
    println!("Signed in, NOT verified: {claims}");
    Ok(())
}

/// The URL of the made-up provider, with a code challenge (PKCE, RFC 7636). A real provider then calls back with
/// `code=…`, and the program sends it with the verifier to the provider over HTTPS, and gets the token.
fn authorization_url(redirect_uri: &str, state: &str, verifier: &str) -> String {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("response_type", "id_token"), ("client_id", "amboss-example"), ("scope", "openid")])
        .extend_pairs([("redirect_uri", redirect_uri), ("state", state)])
        .extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")])
        .finish();
    format!("https://login.example/authorize?{query}")
}

fn callback(request: &mut Request<'_, '_>, state: &str, sender: &SyncSender<Outcome>) -> Result<Response, HttpError> {
    let args = request.args();
    // Without this check, any page could sign the user in with another account (RFC 6749 §10.12).
    if !is_equal(args.get("state").unwrap_or_default(), state) {
        return Err(HttpError::bad_request("The state is not that of this sign-in. Start again at the program."));
    }
    let outcome = match (args.get("error"), args.get("id_token")) {
        (Some(error), _) => Err(format!("the provider says: {error}")),
        (None, token) => Ok(unverified_claims(token.unwrap_or_default())
            .ok_or_else(|| HttpError::bad_request("The callback has neither an error nor an id_token."))?),
    };
    sender.try_send(outcome).map_err(|_| HttpError::new(410).with_description("This sign-in is over."))?;
    Ok(Response::html("<!doctype html>\n<title>Done</title>\n<p>Thank you. You can close this window.\n")
        .with_header("Cache-Control", "no-store"))
}

/// Decodes the claims of a JWT (RFC 7519) WITHOUT verifying its signature: anyone can write such a token. Before a
/// program trusts the claims, it has to verify signature, issuer, audience and expiry with a crate for JWTs.
fn unverified_claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// Compares in a time that does not depend on where the texts differ.
fn is_equal(left: &str, right: &str) -> bool {
    let difference = left.bytes().zip(right.bytes()).fold(0, |difference, (left, right)| difference | (left ^ right));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

/// 256 random bits in base64url, too many to guess.
fn random_text() -> Result<String, &'static str> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no random bits")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
