//! The page in a headless browser: what it shows is what the server said, and it is usable by everyone.
//!
//! One session serves all of these laws, since starting a browser takes longer than they do. Without Chromium and its
//! driver the test is skipped and says so; `.ci/run` installs both, and there it has to run.

mod browser;
mod desk;
mod proxy;

use crate::support::Running;
use browser::{Browser, key};
use desk::{Desk, replay};
use proxy::Proxy;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

const KEY: &str = "secret";
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/axe/axe.min.js");

#[test]
fn the_page_shows_what_the_server_reports_and_everyone_can_use_it() {
    let open = Running::start();
    let keyed = Running::with(|settings| settings.api_keys = vec![KEY.to_owned()]);
    let joint = crate::media::running();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(read(open.address(), keyed.address(), joint.address()));
}

/// All laws, at the page of a server that answers everyone, of one that wants a key and of one whose model has pictures.
async fn read(open: SocketAddr, keyed: SocketAddr, joint: SocketAddr) {
    let Some(browser) = Browser::start().await else { return skip("Chromium and chromedriver") };
    let desk = Desk::open(&browser, &format!("http://{open}/")).await;

    a_canvas_settles_and_the_scrubber_shows_every_step(&desk).await;
    accessible(&desk, "settled").await;
    the_scrubber_answers_to_keys(&desk).await;
    a_pin_survives_renoising(&desk).await;
    a_chosen_alternative_stands_and_stays(&desk).await;
    a_word_opened_again_is_settled_again(&desk).await;
    variations_stand_side_by_side(&desk).await;
    accessible(&desk, "variations").await;
    gaps_are_filled_and_the_given_stays(&desk).await;
    a_text_is_laid_out_and_reworked(&desk).await;
    an_answer_settles_in_a_conversation(&desk).await;
    accessible(&desk, "conversation").await;
    exports_can_be_read(&desk).await;
    keys_alone_are_enough(&desk).await;
    ink_has_contrast_in_light_and_dark(&desk).await;
    nothing_is_wider_than_a_phone(&desk).await;
    pictures_settle_beside_words(&browser, joint).await;
    a_given_picture_stands_on_the_sheet_and_is_painted_anew_in_part(&browser, joint).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "the browser complains");

    a_refusal_is_shown_in_the_words_of_the_server(&desk).await;
    a_dropped_connection_is_resumed(&browser, open).await;
    a_server_with_a_key_gets_one(&browser, keyed).await;
    browser.close().await;
}

async fn pictures_settle_beside_words(browser: &Browser, joint: SocketAddr) {
    let desk = Desk::open(browser, &format!("http://{joint}/")).await;
    desk.mode("fill").await;
    desk.set("text", "A fox[[4]]. ").await;
    let at_the_end = "const field = document.getElementById('text'); field.setSelectionRange(99, 99)";
    browser.script(at_the_end, vec![]).await;
    browser.click("#make-picture").await;
    desk.write().await;
    accessible(&desk, "picture").await;
    let sent = desk.sent("/v1/canvas").await;
    assert_eq!(sent["template"], "A fox[[4]]. [[picture]]");
    let events = desk.events(&sent).await;
    // The picture of each frame is that of the last step that changed it.
    let (mut pictures, mut last) = (Vec::new(), Value::Null);
    for (_, event) in events.iter().filter(|(name, _)| name == "started" || name == "step") {
        if let Some(changed) = event["pictures"].as_object().and_then(|pictures| pictures.values().next()) {
            last = changed.clone();
        }
        pictures.push(last.clone());
    }
    let shown = "return document.querySelector('#sheets .picture img')?.src ?? null";
    for (frame, picture) in pictures.iter().enumerate() {
        desk.set("scrubber", frame).await;
        assert_eq!(&browser.script(shown, vec![]).await, picture, "frame {frame}");
    }
    let finished = &events.iter().find(|(name, _)| name == "finished").expect("it finishes").1;
    assert_eq!(last, finished["pieces"][1]["url"]);
    // What is taken away has the picture as it was in each frame, and as it is at the end.
    let distinct: std::collections::BTreeSet<String> =
        pictures.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let taken = images(&desk).await;
    assert_eq!((taken.len(), taken.last()), (distinct.len(), Some(&("stays".to_owned(), last.clone()))));
    // A picture is chosen with all of its codes and opened again; the words stay.
    let words = || async { browser.script("return document.getElementById('plain').textContent", vec![]).await };
    let before = words().await;
    browser.click("#sheets .picture").await;
    assert!(browser.text("#selected").await.starts_with("16 positions"), "the picture is chosen");
    desk.set("strength", 100).await;
    browser.click("#renoise").await;
    desk.settled().await;
    assert_ne!(browser.script(shown, vec![]).await, last);
    assert_eq!(words().await, before);
}

/// The pictures of what the button for a moving picture saves, with the last of their classes.
async fn images(desk: &Desk<'_>) -> Vec<(String, Value)> {
    let picture = exported(desk, "picture").await;
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new(), "the browser complains");
    let script = "const picture = new DOMParser().parseFromString(arguments[0], 'image/svg+xml');
                  return [...picture.querySelectorAll('image')].map(image =>
                      [image.getAttribute('class').split(' ').at(-1), image.getAttribute('href')])";
    let images = desk.browser.script(script, vec![json!(picture)]).await;
    // The page's policy forbids the styles of a picture that is parsed within the page.
    desk.browser.complaints().await;
    serde_json::from_value(images).expect("pairs")
}

/// Gives the page a file, as choosing one does.
async fn give(desk: &Desk<'_>, name: &str, url: &str) {
    let script = "const [name, data] = arguments;
                  const bytes = Uint8Array.from(atob(data.split(',')[1]), character => character.charCodeAt(0));
                  const transfer = new DataTransfer();
                  transfer.items.add(new File([bytes], name));
                  const input = document.getElementById('give-picture');
                  input.files = transfer.files;
                  input.dispatchEvent(new Event('change', { bubbles: true }));";
    desk.browser.script(script, vec![json!(name), json!(url)]).await;
}

async fn a_given_picture_stands_on_the_sheet_and_is_painted_anew_in_part(browser: &Browser, joint: SocketAddr) {
    let desk = Desk::open(browser, &format!("http://{joint}/")).await;
    desk.mode("fill").await;
    desk.set("text", "").await;
    give(&desk, "no picture.png", "data:;base64,AAAA").await;
    browser.until("document.getElementById('error').textContent !== ''").await;
    assert!(browser.text("#error").await.contains("no picture.png is no picture that this browser can read"));
    // Its name is one that a template can have.
    give(&desk, "a [red] fox,x=1.png", &crate::support::picture_url([220, 30, 30, 255])).await;
    let named = "document.getElementById('text').value === '[[picture:a  red  fox x 1.png]]'";
    browser.until(named).await;
    desk.set("text", "[[picture:a  red  fox x 1.png]] It is[[4]].").await;
    desk.write().await;
    let sent = desk.sent("/v1/canvas").await;
    let files = sent["files"].as_object().expect("files are sent");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["a  red  fox x 1.png"]);
    let shown = "return [...document.querySelectorAll('#sheets .picture img')].map(image => image.src)";
    let given = browser.script(shown, vec![]).await;
    let finished = desk.events(&sent).await.pop().expect("it ends").1;
    assert!(given[0].as_str().is_some_and(|url| url.starts_with("data:image/png;base64,")), "{given} {finished}");
    assert_eq!(images(&desk).await, [("stays".to_owned(), given[0].clone())]);
    // A mask makes a part of it anew; what is sent again has its pixels, too.
    desk.set("text", "[[picture:a  red  fox x 1.png,mask=1x1+0x0]][[picture]]").await;
    desk.write().await;
    let painted = browser.script(shown, vec![]).await;
    assert_eq!(painted.as_array().map(Vec::len), Some(2));
    browser.click("#sheets .picture:nth-of-type(1)").await;
    desk.set("strength", 100).await;
    browser.click("#renoise").await;
    desk.settled().await;
    let again = desk.sent("/v1/canvas").await;
    let span = &again["canvas"]["spans"][0];
    assert_eq!(span["original"]["made"].as_array().map(Vec::len), Some(1), "{span}");
}

/// Says that a test is skipped, which it never is where everything is installed.
fn skip(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} are missing; .ci/run installs them");
    writeln!(std::io::stderr(), "skipped: the page in a browser: {what} are missing").expect("it can be said");
}

async fn a_canvas_settles_and_the_scrubber_shows_every_step(desk: &Desk<'_>) {
    desk.set("setting-remasking", 0.2).await;
    desk.write().await;
    let events = desk.events(&desk.sent("/v1/canvas").await).await;
    let frames = replay(&events);
    assert_eq!(desk.last().await + 1, frames.len() as u64, "a frame for the beginning and for each step");
    assert!(frames.len() > 8, "{frames:?}");
    let renoised = events.iter().any(|(_, data)| data["changes"].to_string().contains("renoised"));
    assert!(renoised, "this seed takes words back");
    for (step, frame) in frames.iter().enumerate() {
        desk.set("scrubber", step).await;
        assert_eq!(&desk.positions().await, frame, "step {step}");
    }
    let finished = &events.iter().find(|(name, _)| name == "finished").expect("it finishes").1;
    let plain = desk.browser.script("return document.getElementById('plain').textContent", vec![]).await;
    assert_eq!(plain, finished["text"]);
    let passes = finished["usage"]["forward_passes"].as_u64().expect("a number");
    let figures = desk.browser.text("#figures").await;
    assert!(figures.contains(&format!("Passes\n{passes}")), "{figures}");
    desk.set("setting-remasking", 0).await;
}

async fn the_scrubber_answers_to_keys(desk: &Desk<'_>) {
    desk.browser.script("document.getElementById('scrubber').focus()", vec![]).await;
    desk.browser.keys([key::HOME]).await;
    let first = desk.positions().await;
    assert!(first.iter().any(|(state, _)| state == "open") && first.iter().all(|(state, _)| state != "written"));
    desk.browser.keys([key::RIGHT, key::RIGHT, key::LEFT]).await;
    assert!(desk.browser.text("#step").await.starts_with("1 /"));
    let step = desk.browser.script("return document.getElementById('scrubber').getAttribute('aria-valuetext')", vec![]);
    assert!(step.await.as_str().is_some_and(|text| text.contains("block 1, step 1")));
    let last = desk.last().await;
    desk.set("scrubber", last).await;
}

async fn a_pin_survives_renoising(desk: &Desk<'_>) {
    let position = desk.written_word(1).await;
    let word = desk.positions().await[position].1.clone();
    desk.pick(position).await;
    desk.browser.click("#panel-pin").await;
    assert_eq!(desk.positions().await[position], ("given".to_owned(), word.clone()));
    let before = desk.last().await;
    desk.browser.click("#select-all").await;
    desk.set("strength", 100).await;
    desk.browser.click("#renoise").await;
    desk.settled().await;
    let sent = desk.sent("/v1/canvas").await;
    assert_eq!(sent["canvas"]["positions"][position]["state"], "given");
    assert!(!sent["renoise"]["positions"].as_array().expect("a list").contains(&json!(position)));
    assert!(desk.last().await > before + 1, "other words were written anew");
    for frame in before..=desk.last().await {
        desk.set("scrubber", frame).await;
        assert_eq!(desk.positions().await[position], ("given".to_owned(), word.clone()), "frame {frame}");
    }
}

async fn a_chosen_alternative_stands_and_stays(desk: &Desk<'_>) {
    let position = desk.written_word(0).await;
    desk.pick(position).await;
    let script = "const rows = [...document.querySelectorAll('#panel-list button:not([aria-current])')];
                  const row = rows.find(row => /^[a-z]+$/.test(row.children[0].textContent));
                  row.id = 'other'; return [row.children[0].textContent, row.children[2].textContent]";
    let other = desk.browser.script(script, vec![]).await;
    assert!(other[1].as_str().is_some_and(|shown| shown.ends_with('%')), "{other}");
    accessible(desk, "panel").await;
    desk.browser.click("#other").await;
    let chosen = ("given".to_owned(), other[0].as_str().expect("a word").to_owned());
    assert_eq!(desk.positions().await[position], chosen);
    desk.browser.click("#select-all").await;
    desk.browser.click("#renoise").await;
    desk.settled().await;
    assert_eq!(desk.positions().await[position], chosen);
}

async fn a_word_opened_again_is_settled_again(desk: &Desk<'_>) {
    let position = desk.written_word(0).await;
    desk.pick(position).await;
    desk.browser.click("#panel-open").await;
    assert_eq!(desk.positions().await[position].0, "open");
    let before = desk.positions().await;
    desk.browser.click("#settle").await;
    desk.settled().await;
    let after = desk.positions().await;
    assert_eq!(after[position].0, "written");
    // The text of a neighbour may change with a blank; what it holds may not.
    let states = |positions: &[(String, String)]| positions.iter().filter(|(state, _)| state == "given").count();
    assert_eq!(states(&before), states(&after));
    assert!(desk.sent("/v1/canvas").await.get("renoise").is_none());
}

async fn variations_stand_side_by_side(desk: &Desk<'_>) {
    desk.set("setting-variations", 2).await;
    desk.write().await;
    let seeds = desk
        .browser
        .script("return [...document.querySelectorAll('.signature')].map(line => line.textContent)", vec![]);
    assert_eq!(seeds.await, json!(["tales, seed 7", "tales, seed 8"]));
    let texts = "return [...document.querySelectorAll('.words')].map(words => words.textContent)";
    let texts = desk.browser.script(texts, vec![]).await;
    assert_ne!(texts[0], texts[1]);
    desk.set("setting-variations", 1).await;
}

async fn gaps_are_filled_and_the_given_stays(desk: &Desk<'_>) {
    desk.mode("fill").await;
    desk.set("text", "The  sat on the [[~8]].").await;
    desk.browser.script("document.getElementById('text').setSelectionRange(4, 4)", vec![]).await;
    desk.set("gap-length", 2).await;
    desk.browser.click("#gap").await;
    assert_eq!(
        desk.browser.script("return document.getElementById('text').value", vec![]).await,
        "The [[2]] sat on the [[~8]]."
    );
    desk.write().await;
    let text = desk.browser.script("return document.getElementById('plain').textContent", vec![]).await;
    let text = text.as_str().expect("a text");
    assert!(text.starts_with("The ") && text.contains(" sat on the ") && text.ends_with('.'), "{text}");
    assert!(text.len() > "The  sat on the .".len(), "{text}");
}

async fn a_text_is_laid_out_and_reworked(desk: &Desk<'_>) {
    desk.mode("edit").await;
    let text = "The king had three daughters.";
    desk.set("text", text).await;
    desk.browser.click("#go").await;
    desk.browser.until("document.getElementById('plain').textContent.startsWith('The king had')").await;
    let laid_out = desk.positions().await;
    assert!(laid_out.iter().all(|(state, _)| state == "written"), "{laid_out:?}");
    desk.browser.click("[data-position='1']").await;
    desk.browser.click("#panel-from").await;
    desk.browser.click("[data-position='3']").await;
    desk.browser.click("#renoise").await;
    desk.settled().await;
    let reworked = desk.positions().await;
    assert_eq!(desk.sent("/v1/canvas").await["renoise"]["positions"], json!([1, 2, 3]));
    assert_eq!((&reworked[0], &reworked[4..]), (&laid_out[0], &laid_out[4..]), "what was not selected stays");
}

async fn an_answer_settles_in_a_conversation(desk: &Desk<'_>) {
    desk.mode("chat").await;
    desk.set("text", "Who lives in the wood?").await;
    desk.write().await;
    let turns = desk.browser.text("#conversation").await;
    assert!(turns.starts_with("You\nWho lives in the wood?\nModel\n"), "{turns}");
    let answer = desk.browser.script("return document.querySelector('.assistant').lastChild.textContent", vec![]).await;
    assert_ne!(answer, "");
    let sheet = desk.browser.script("return document.getElementById('plain').textContent.trim()", vec![]).await;
    assert_eq!(sheet, answer, "the sheet has the answer and not what led to it");
    desk.set("text", "And then?").await;
    desk.write().await;
    let sent = desk.sent("/v1/chat/completions").await;
    let roles: Vec<_> = sent["messages"].as_array().expect("a list").iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(sent["messages"][1]["content"], answer);
}

async fn exports_can_be_read(desk: &Desk<'_>) {
    desk.mode("continue").await;
    desk.write().await;
    let positions = desk.positions().await;
    let plain = desk.browser.script("return document.getElementById('plain').textContent", vec![]).await;
    assert_eq!(json!(exported(desk, "text").await), plain);

    let trace = exported(desk, "trace").await;
    let events: Vec<Value> = trace.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let named = events.iter().map(|event| (event["event"].as_str().expect("a name").to_owned(), event.clone()));
    assert_eq!(replay(&named.collect::<Vec<_>>()).last(), Some(&positions));

    let picture = exported(desk, "picture").await;
    let script = "const picture = new DOMParser().parseFromString(arguments[0], 'image/svg+xml');
                  return [picture.querySelector('parsererror')?.textContent ?? '', picture.documentElement.getAttribute('aria-label'),
                          picture.querySelectorAll('text.stays').length]";
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new(), "the browser complains");
    let parsed = desk.browser.script(script, vec![json!(picture)]).await;
    // The page's policy forbids the styles of a picture that is parsed within the page.
    desk.browser.complaints().await;
    let read_out: Vec<&str> = plain.as_str().expect("a text").split_whitespace().collect();
    assert_eq!((&parsed[0], &parsed[1]), (&json!(""), &json!(read_out.join(" "))));
    let words = positions.iter().filter(|(_, text)| !text.is_empty()).count();
    assert_eq!(parsed[2], json!(words), "what stands at the end stays");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("replay.html");
    std::fs::write(&file, exported(desk, "replay").await).expect("written");
    let page = desk.browser.script("return location.href", vec![]).await;
    desk.browser.open(&format!("file://{}", file.display())).await;
    desk.browser.until("document.getElementById('plain').textContent !== ''").await;
    assert_eq!(desk.positions().await, positions, "the replay ends as the sheet did");
    desk.set("scrubber", 0).await;
    assert!(desk.positions().await.iter().any(|(state, _)| state == "open"));
    Desk::open(desk.browser, page.as_str().expect("an address")).await;
}

/// What a button for taking away saves.
async fn exported(desk: &Desk<'_>, what: &str) -> String {
    let script = "window.saved = null; const address = URL.createObjectURL;
                  URL.createObjectURL = (file) => { window.saved = file; return address(file); };";
    desk.browser.script(script, vec![]).await;
    desk.browser.click(&format!("#export-{what}")).await;
    desk.browser.promise("window.saved.text()", vec![]).await.as_str().expect("a text").to_owned()
}

async fn keys_alone_are_enough(desk: &Desk<'_>) {
    let browser = desk.browser;
    browser.script("document.getElementById('text').focus()", vec![]).await;
    browser.keys([key::CONTROL, key::ENTER]).await;
    browser.until("document.getElementById('scrubber').max > 4").await;
    desk.settled().await;
    let focused = async |selector: &str| {
        let script = "return document.activeElement.matches(arguments[0])";
        browser.script(script, vec![json!(selector)]).await == json!(true)
    };
    for _ in 0..60 {
        if focused("[role=option]").await {
            break;
        }
        browser.keys([key::TAB]).await;
    }
    assert!(focused("[role=option]").await, "Tab leads to the words");
    browser.keys([key::HOME, key::RIGHT, key::RIGHT]).await;
    browser.keys([key::ENTER]).await;
    assert!(focused("#panel-close").await, "the panel has the focus");
    browser.keys([key::ESCAPE]).await;
    assert!(focused("[role=option]").await, "the word has it again");
    browser.keys([key::SHIFT, key::RIGHT, key::RIGHT]).await;
    let selected = "return document.querySelectorAll('[aria-selected=true]').length";
    assert_eq!(browser.script(selected, vec![]).await, 3);
    browser.keys([key::ESCAPE]).await;
    assert_eq!(browser.script(selected, vec![]).await, 0);
    // Where Tab stops, it shows.
    let unmarked = "return [...document.querySelectorAll('button, input, select, textarea, summary, [tabindex=\"0\"]')]
        .filter(element => { element.focus(); return element === document.activeElement && !document.activeElement.matches('.modes input')
            && getComputedStyle(element).outlineStyle === 'none'; }).map(element => element.outerHTML.slice(0, 80))";
    browser.keys([key::TAB]).await;
    assert_eq!(browser.script(unmarked, vec![]).await, json!([]));
}

/// axe-core finds nothing, in light and in dark.
async fn accessible(desk: &Desk<'_>, state: &str) {
    if !Path::new(AXE).exists() {
        return skip("the checks of axe-core (target/axe/axe.min.js)");
    }
    let axe = std::fs::read_to_string(AXE).expect("it can be read");
    assert_eq!(desk.browser.complaints().await, Vec::<String>::new(), "the browser complains: {state}");
    desk.browser.script(&format!("if (!window.axe) {{ {axe} }}"), vec![]).await;
    for theme in ["light", "dark"] {
        desk.browser.script("document.documentElement.dataset.theme = arguments[0]", vec![json!(theme)]).await;
        let violations =
            "axe.run(document, { resultTypes: ['violations'] }).then(results => results.violations.map(violation =>
            [violation.id, violation.nodes.map(node => [node.html.slice(0, 160), node.failureSummary])]))";
        assert_eq!(desk.browser.promise(violations, vec![]).await, json!([]), "{state}, {theme}");
    }
    desk.browser.script("document.documentElement.dataset.theme = 'light'", vec![]).await;
    // The checks try styles of their own on the page, which its policy forbids.
    desk.browser.complaints().await;
}

/// What axe-core cannot judge: letters that are filled with two inks. Each of the two has the contrast of text.
async fn ink_has_contrast_in_light_and_dark(desk: &Desk<'_>) {
    let script = "const luminance = (name) => {
            const probe = document.createElement('canvas').getContext('2d');
            const swatch = document.body.appendChild(document.createElement('span'));
            swatch.style.setProperty('color', `var(--${name})`);
            probe.fillStyle = getComputedStyle(swatch).color; swatch.remove(); probe.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map(value => value / 255)
                .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        document.documentElement.dataset.theme = arguments[0];
        const contrast = (one, other) => { const [a, b] = [luminance(one), luminance(other)].sort((a, b) => b - a);
            return (a + 0.05) / (b + 0.05); };
        return arguments[1].map(([one, other]) => contrast(one, other))";
    let pairs = [
        (["ink", "plate"], 12.0),
        (["light-ink", "plate"], 4.5),
        (["soft-ink", "plate"], 4.5),
        (["soft-ink", "desk"], 4.5),
        (["soft-ink", "paper"], 4.5),
        (["pencil", "paper"], 4.5),
        (["accent", "plate"], 4.5),
        (["ink", "wash"], 7.0),
        (["control-edge", "desk"], 3.0),
        (["accent", "desk"], 3.0),
    ];
    for theme in ["light", "dark"] {
        let names = pairs.map(|(pair, _)| pair);
        let contrasts = desk.browser.script(script, vec![json!(theme), json!(names)]).await;
        for (index, (pair, least)) in pairs.iter().enumerate() {
            let contrast = contrasts[index].as_f64().expect("a number");
            assert!(contrast >= *least, "{theme}: {pair:?} have a contrast of {contrast:.2}, not {least}");
        }
    }
}

async fn nothing_is_wider_than_a_phone(desk: &Desk<'_>) {
    desk.browser.resize(360, 780).await;
    let widths =
        "const { clientWidth, scrollWidth } = document.documentElement; return [innerWidth, scrollWidth - clientWidth]";
    assert_eq!(desk.browser.script(widths, vec![]).await, json!([360, 0]), "nothing has to be moved sideways");
    let small = "return [...document.querySelectorAll('button, select')].filter(element => element.offsetParent &&
        element.getBoundingClientRect().height < 36).map(element => element.outerHTML.slice(0, 80))";
    assert_eq!(desk.browser.script(small, vec![]).await, json!([]), "fingers need room");
    desk.browser.resize(1440, 900).await;
}

async fn a_refusal_is_shown_in_the_words_of_the_server(desk: &Desk<'_>) {
    desk.mode("fill").await;
    desk.set("text", "A gap of [[0]] tokens.").await;
    desk.browser.click("#go").await;
    desk.browser.until("!document.getElementById('error').hidden").await;
    let message = desk.browser.script("return document.getElementById('error').textContent", vec![]).await;
    let body = desk.sent("/v1/canvas").await.to_string();
    let answered = desk
        .browser
        .promise(
            "fetch('/v1/canvas', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: arguments[0] })
             .then(response => response.json())",
            vec![json!(body)],
        )
        .await;
    assert_eq!(message, answered["error"]["message"]);
}

async fn a_dropped_connection_is_resumed(browser: &Browser, server: SocketAddr) {
    let proxy = Proxy::start(server, 6000).await;
    let desk = Desk::open(browser, &format!("http://{}/", proxy.address)).await;
    desk.write().await;
    assert_eq!((proxy.cuts(), proxy.resumptions()), (1, 1), "one stream was cut, and one request went on with it");
    let frames = replay(&desk.events(&desk.sent("/v1/canvas").await).await);
    assert_eq!(desk.last().await + 1, frames.len() as u64, "no step is missing and none came twice");
    for (step, frame) in frames.iter().enumerate() {
        desk.set("scrubber", step).await;
        assert_eq!(&desk.positions().await, frame, "step {step}");
    }
}

async fn a_server_with_a_key_gets_one(browser: &Browser, keyed: SocketAddr) {
    let desk = Desk::open(browser, &format!("http://{keyed}/")).await;
    browser.click("#go").await;
    browser.until("!document.getElementById('error').hidden && document.activeElement.id === 'key'").await;
    browser.keys(KEY.chars().chain([key::TAB])).await;
    browser.until("document.getElementById('error').hidden").await;
    desk.write().await;
}
