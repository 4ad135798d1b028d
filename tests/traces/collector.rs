//! A collector that keeps what it receives: OTLP over gRPC and over HTTP, as the exporter really sends it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub(crate) struct Collector {
    pub(crate) address: String,
    received: Received,
    server: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn posted(State(received): State<Received>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    received.0.lock().extend(request.resource_spans);
}

impl Collector {
    pub(crate) fn by_grpc() -> Self {
        let any = ([127, 0, 0, 1], 0).into();
        let incoming = TcpIncoming::bind(any).expect("a free port");
        let address = incoming.local_addr().expect("a bound port").to_string();
        let mut collector = Self::new(address);
        let service = TraceServiceServer::new(collector.received.clone());
        collector.server.spawn(async move {
            let served = Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming);
            served.await.expect("the collector serves");
        });
        collector
    }

    pub(crate) async fn by_http() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let mut collector = Self::new(format!("http://{address}/v1/traces"));
        let routes = Router::new()
            .route("/v1/traces", post(posted))
            .with_state(collector.received.clone());
        collector.server.spawn(async move {
            let served = axum::serve(listener, routes);
            served.await.expect("the collector serves");
        });
        collector
    }

    fn new(address: String) -> Self {
        Self {
            address,
            received: Received::default(),
            server: JoinSet::new(),
        }
    }

    pub(crate) fn received(&self) -> Trace {
        Trace(self.received.0.lock().clone())
    }
}

/// What a collector has received.
#[derive(Debug)]
pub(crate) struct Trace(Vec<ResourceSpans>);

impl Trace {
    /// In the order of their beginnings.
    pub(crate) fn spans(&self) -> Vec<&Span> {
        let scopes = self.0.iter().flat_map(|resource| &resource.scope_spans);
        let mut spans: Vec<_> = scopes.flat_map(|scope| &scope.spans).collect();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }

    /// The only span of this name.
    #[track_caller]
    pub(crate) fn only(&self, name: &str) -> &Span {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {all:#?}");
        all[0]
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        spans
    }

    /// What is said of the service that the spans come from.
    pub(crate) fn service(&self, key: &str) -> Option<String> {
        let resource = self.0.first()?.resource.as_ref()?;
        text_of(&resource.attributes, key)
    }
}

/// An attribute as text.
pub(crate) fn text(span: &Span, key: &str) -> Option<String> {
    text_of(&span.attributes, key)
}

pub(crate) fn is_error(span: &Span) -> bool {
    let status = span.status.as_ref();
    status.is_some_and(|status| status.code() == StatusCode::Error)
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(text.clone()),
        Some(AnyValue {
            value: Some(Value::IntValue(number)),
        }) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}
