//! `aquatint serve`: a server until it is asked to stop.

use crate::arguments::ServeArguments;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, watermark};
use aquatint_checkpoint::builtin;
use aquatint_serve::{ModelSource, ServeEvent, ServeSettings, Server};
use std::sync::Arc;
use std::time::Duration;

/// How often the program looks whether it was asked to stop.
const POLL: Duration = Duration::from_millis(50);

pub(crate) fn run(arguments: &ServeArguments, printer: &Printer) -> Result<(), Failure> {
    let settings = settings(arguments, printer)?;
    let runtime = arguments.device.runtime(printer)?;
    if settings.api_keys.is_empty() && !is_loopback(&settings.host) {
        printer.warn(format_args!(
            "anyone who reaches {} can use this server; `--api-key KEY` asks for a key",
            settings.host
        ));
    }
    printer.detail(format_args!("{}; {}", runtime.describe_device(), runtime.describe_precision()));
    let keeping = interrupt::keep("what runs is finished first");
    let (listener, wants_experts) = (*printer, arguments.device.expert_memory.is_some());
    let own = runtime.clone();
    let server = Server::start(settings, runtime, Arc::new(move |event| report(&listener, wants_experts, event)))?;
    while !interrupt::pressed() && !server.is_finished() {
        std::thread::sleep(POLL);
    }
    server.stop();
    let ended = server.wait();
    model::tell_of_graphs(&own, printer);
    drop(keeping);
    Ok(ended?)
}

fn settings(arguments: &ServeArguments, printer: &Printer) -> Result<ServeSettings, Failure> {
    let mut models: Vec<_> = arguments.models.iter().flat_map(|model| ModelSource::named(model)).collect();
    if models.is_empty() {
        models = ModelSource::named(builtin::DEFAULT);
    }
    for source in &mut models {
        source.path = model::resolve(&source.path)?;
    }
    Ok(ServeSettings {
        host: arguments.host.clone(),
        port: arguments.port,
        api_keys: arguments.api_keys.clone(),
        allowed_hosts: arguments.allowed_hosts.clone(),
        cors_origins: arguments.cors_origins.clone(),
        body_limit: arguments.max_body,
        canvas_limit: arguments.max_canvas,
        queue: arguments.queue,
        time_limit: Duration::from_secs(arguments.timeout),
        grace: Duration::from_secs(arguments.grace),
        model_memory: arguments.model_memory.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
        watermark: arguments.watermark.as_deref().map(watermark::read).transpose()?,
        guards: arguments.guard.read(printer)?,
        log_prompts: arguments.log_prompts,
        page: !arguments.no_page,
        ..ServeSettings::new(models)
    })
}

/// Says what the server reports; `wants_experts` where experts were given a memory of their own.
fn report(printer: &Printer, wants_experts: bool, event: ServeEvent) {
    match event {
        ServeEvent::Ready { address } => printer.status(format_args!("listening on http://{address}")),
        ServeEvent::Loaded { model, seconds, unknown_keys, has_experts } => {
            model::warn_of_keys(&unknown_keys, printer);
            if wants_experts && !has_experts {
                model::warn_of_no_experts(&model, printer);
            }
            printer.detail(format_args!("model {model} loaded in {seconds:.2} s"));
        }
        ServeEvent::Unloaded { model } => printer.detail(format_args!("model {model} given up")),
        ServeEvent::Answered { method, path, status, seconds } => {
            printer.detail(format_args!("{method} {path} {status} {:.1} ms", seconds * 1000.0));
        }
        ServeEvent::Prompt { text } => printer.detail(format_args!("prompt: {text:?}")),
        // The program says so itself, where it was asked to.
        ServeEvent::Stopping => printer.detail("stopping"),
        _ => {}
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
