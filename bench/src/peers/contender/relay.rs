//! Configurations of nginx and HAProxy as plain relays: one upstream request, to decode workers in turn.
//!
//! One process each, with one thread, so that what it uses is what one core gives, as for the routers when they are
//! pinned to one. Connections to workers are kept, bodies and answers are passed on as they come, nothing is logged.

use super::Setup;
use std::fmt::Write as _;

/// Idle connections that are kept to each worker: more than any scenario has requests at once but the one that holds
/// streams, whose connections are not idle.
const KEPT: u32 = 512;

pub(super) fn nginx(setup: &Setup<'_>) -> String {
    let folder = setup.folder.display();
    let mut upstream = String::new();
    for port in &setup.workers.decode {
        writeln!(upstream, "        server 127.0.0.1:{port};").expect("a String takes every text");
    }
    let (tls, certificate) = match setup.certificate {
        None => ("", String::new()),
        Some(certificate) => (
            " ssl",
            format!(
                "        ssl_certificate {};\n        ssl_certificate_key {};\n",
                certificate.chain.display(),
                certificate.key.display()
            ),
        ),
    };
    format!(
        "daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections 20000;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
    client_max_body_size 512m;
    upstream decode {{
{upstream}        keepalive {KEPT};
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{}{tls};
{certificate}        location / {{
            proxy_pass http://decode;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
",
        setup.port
    )
}

pub(super) fn haproxy(setup: &Setup<'_>) -> String {
    let mut servers = String::new();
    for (number, port) in setup.workers.decode.iter().enumerate() {
        writeln!(
            servers,
            "    server decode{number} 127.0.0.1:{port} pool-max-conn {KEPT}"
        )
        .expect("a String takes every text");
    }
    let tls = setup
        .certificate
        .map(|certificate| format!(" ssl crt {}", certificate.both.display()))
        .unwrap_or_default();
    format!(
        "global
    nbthread 1
    maxconn 9900
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend clients
    bind 127.0.0.1:{}{tls}
    default_backend decode
backend decode
    balance roundrobin
    http-reuse always
{servers}",
        setup.port
    )
}
