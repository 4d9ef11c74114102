//! Chat templates that several families share, for folders that bring none.

/// ChatML with the system message that Qwen2.5 has where a conversation has none.
pub(super) const CHATML: &str = "\
{% if not messages or messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}\
{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// ChatML as Qwen3 has it: an answer behind the last turn of the user keeps its thoughts, or shows that it has none;
/// those of earlier answers are left out. `enable_thinking` false begins the answer behind an empty thought.
pub(super) const THINKING_CHATML: &str = "\
{% set latest = namespace(query=-1) %}\
{% for message in messages %}{% if message['role'] == 'user' %}{% set latest.query = loop.index0 %}{% endif %}{% endfor %}\
{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\\n' }}\
{% if message['role'] == 'assistant' %}\
{% set parts = message['content'].split('</think>') %}\
{% set thoughts = parts[0].split('<think>')[-1].strip('\\n') if parts | length > 1 else '' %}\
{% if loop.index0 > latest.query and (loop.last or thoughts) %}\
{{ '<think>\\n' + thoughts + '\\n</think>\\n\\n' }}{% endif %}\
{{ parts[-1].lstrip('\\n') if parts | length > 1 or loop.index0 > latest.query else parts[-1] }}\
{% else %}{{ message['content'] }}{% endif %}\
{{ '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}\
{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}";
