//! actix-web: a single-threaded runtime per core; with actix-files for files, which reads blocks in a thread pool.

use super::config::{Mode, PeerConfig, BODY, SLEEP};
use actix_web::{web, App, HttpResponse, HttpServer};
use std::io;
use std::time::Duration;

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let PeerConfig { port, workers, mode, .. } = *config;
    let folder = config.folder.clone();
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || match mode {
            Mode::Files => App::new().service(actix_files::Files::new("/", &folder)),
            _ => App::new()
                .route("/", web::get().to(hello))
                .route("/fast", web::get().to(hello))
                .route("/slow", web::get().to(slow)),
        })
        .workers(workers)
        // The default of 5 s would close connections while the idle benchmark still opens others.
        .keep_alive(Duration::from_secs(3600))
        .bind(("127.0.0.1", port))?
        .run()
        .await
    })
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body(BODY)
}

async fn slow() -> HttpResponse {
    actix_web::rt::time::sleep(SLEEP).await;
    hello().await
}
