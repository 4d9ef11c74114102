//! Chat templates as models carry them.

use aquatint_vocabulary::{ChatError, ChatTemplate, Message};

fn conversation() -> [Message; 3] {
    [Message::new("system", " Be kind. "), Message::new("user", "Hello?"), Message::new("assistant", "Hello!")]
}

const TURNS: &str = "{% for message in messages %}
    {% if message['role'] == 'tool' %}
        {{ raise_exception('no tools here') }}
    {% endif %}
<|{{ message.role }}|>{{ message.content.strip() }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
{{ bos_token }}<|assistant|>
{%- endif %}";

#[test]
fn a_conversation_becomes_one_text() {
    let template = ChatTemplate::new(TURNS, "<s>", "</s>").unwrap();
    assert_eq!(
        template.render(&conversation(), true).unwrap(),
        "<|system|>Be kind.</s>\n<|user|>Hello?</s>\n<|assistant|>Hello!</s>\n<s><|assistant|>"
    );
    assert_eq!(template.render(&conversation()[1..2], false).unwrap(), "<|user|>Hello?</s>\n");
}

#[test]
fn the_template_can_refuse() {
    let template = ChatTemplate::new(TURNS, "", "").unwrap();
    let error = template.render(&[Message::new("tool", "x")], true).unwrap_err();
    assert!(matches!(&error, ChatError::Refused { reason } if reason == "no tools here"), "{error}");
    assert_eq!(error.to_string(), "the chat template refuses the conversation: no tools here");
}

#[test]
fn the_python_that_templates_use_is_understood() {
    let source = "{% set ns = namespace(n=0) %}{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}\
        {% set ns.n = ns.n + 1 %}{{ m.get('role', '?').upper() }}{{ m.get('tools') is none }}\
        {% for key, value in m.items() %}|{{ key }}={{ value | tojson }}{% endfor %}{% endfor %}\
        {{ ns.n }}{{ 'a-b-c'.split('-')[-1] }}{{ 'xaax'.strip('x').replace('a', 'o') }}{{ 'abc'.startswith('ab') }}\
        {{ messages[0].content is string }}{{ messages[1:] | length }}{{ tools is defined }}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    assert_eq!(
        template.render(&conversation()[..2], false).unwrap().to_lowercase(),
        "usertrue|role=\"user\"|content=\"hello?\"1cootruetrue1true"
    );
}

#[test]
fn the_configuration_names_template_and_tokens() {
    let config = serde_json::json!({
        "bos_token": {"content": "<s>"}, "eos_token": "</s>",
        "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}{{ eos_token }}"}],
    });
    assert_eq!(ChatTemplate::from_config(&config).unwrap().render(&[], false).unwrap(), "<s></s>");
    let plain = serde_json::json!({"chat_template": "{{ messages | length }}"});
    assert_eq!(ChatTemplate::from_config(&plain).unwrap().render(&conversation(), false).unwrap(), "3");
    assert!(matches!(ChatTemplate::from_config(&serde_json::json!({})), Err(ChatError::Missing)));
}

#[test]
fn errors_of_templates_name_the_line() {
    let error = ChatTemplate::new("a\n{% if %}", "", "").unwrap_err().to_string();
    assert!(error.starts_with("the chat template cannot be read: ") && error.contains("(line 2)"), "{error}");
    let template = ChatTemplate::new("\n{{ messages.nope.nope }}", "", "").unwrap();
    assert!(matches!(template.render(&[], false), Err(ChatError::Failed { .. })));
}

#[test]
fn tools_reach_the_template_and_so_does_what_they_returned() {
    let source = "{% if tools %}{% for tool in tools %}{{ tool.function.name }} {{ tool | tojson }};{% endfor %}{% endif %}\
                  {% for m in messages %}[{{ m.role }}]{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}\
                  {% endif %}{{ m.content }}{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    assert!(template.knows_tools());
    let tool = serde_json::json!({"type": "function", "function": {"name": "weather"}});
    let mut call = Message::new("assistant", "");
    call.extra.insert("tool_calls".to_owned(), serde_json::json!([{"function": {"name": "weather"}}]));
    let messages = [Message::new("user", "Hi"), call, Message::new("tool", "rain")];
    assert_eq!(
        template.render_with_tools(&messages, std::slice::from_ref(&tool), false).unwrap(),
        "weather {\"type\": \"function\", \"function\": {\"name\": \"weather\"}};[user]Hi[assistant]weather[tool]rain"
    );
    assert_eq!(template.render(&messages[..1], false).unwrap(), "[user]Hi");
    assert!(!ChatTemplate::new("{{ messages }}", "", "").unwrap().knows_tools());
}

#[test]
fn a_template_without_end_is_stopped() {
    let forever = "{% for a in range(90000) %}{% for b in range(90000) %}{% for c in range(90000) %}{% endfor %}{% endfor %}{% endfor %}";
    let doubling =
        "{% set n = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}";
    let deep = "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}";
    for source in [forever, doubling, deep, "{{ 'a' * 1000000000000 }}"] {
        let template = ChatTemplate::new(source, "", "").unwrap();
        assert!(matches!(template.render(&[], false), Err(ChatError::Failed { .. })), "{source}");
    }
}

#[test]
fn the_plain_template_has_a_line_for_each_turn() {
    let template = ChatTemplate::new(ChatTemplate::PLAIN, "", "</s>").unwrap();
    assert_eq!(template.render(&conversation()[..2], true).unwrap(), "Be kind.\nQ: Hello?\nA:");
    assert_eq!(template.render(&conversation(), false).unwrap(), "Be kind.\nQ: Hello?\nA: Hello!</s>\n");
    assert!(!template.knows_tools());
}
