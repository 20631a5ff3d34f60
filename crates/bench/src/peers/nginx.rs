//! nginx. Its configuration contains the response, and a file contains the response to `/large`. Both are written to a
//! temporary folder. nginx replaces this process, so that the process id is that of nginx.
//!
//! Files are sent with `sendfile` and `tcp_nopush`, as Debian configures nginx, and without `open_file_cache`, which is
//! off by default: like the other peers, nginx looks up and opens the file for each request.

use super::config::{Mode, PeerConfig, BODY, LARGE};
use crate::certificate;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Serves until the process is killed.
pub fn serve(config: &PeerConfig) -> io::Result<()> {
    let folder = folder(std::process::id());
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration(config))?;
    std::fs::write(folder.join("large"), LARGE)?;
    let error = Command::new("nginx").arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&file).exec();
    if error.kind() == io::ErrorKind::NotFound {
        return Err(io::Error::other(
            "nginx is not installed; install it (Debian: apt-get install nginx-light), or omit it with --peers",
        ));
    }
    Err(error)
}

/// The folder of the nginx with this process id. The process that started nginx removes it.
pub fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("amboss-bench-{pid}"))
}

fn configuration(config: &PeerConfig) -> String {
    format!(
        r#"daemon off;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    tcp_nodelay on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096{tls};
        {locations}
    }}
}}
"#,
        workers = config.workers,
        port = config.port,
        locations = match config.mode {
            Mode::Files => format!("sendfile on; tcp_nopush on; root {};", config.folder.display()),
            _ => format!(r#"location / {{ return 200 "{BODY}"; }} location = /large {{ root .; }}"#),
        },
        tls = if config.mode == Mode::Tls { tls(config) } else { String::new() },
    )
}

/// The end of the `listen` directive, and the directives for TLS.
fn tls(config: &PeerConfig) -> String {
    let (certificate, key) = certificate::files(&config.folder);
    format!(
        r#" ssl;
        ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_tickets on;
        ssl_session_cache shared:tls:10m"#,
        certificate.display(),
        key.display(),
    )
}
