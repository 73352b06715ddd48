"""The process that holds one model: reads requests from standard input, answers on standard output.

The only file that imports llama_cpp, and it is never imported by the daemon: what goes wrong in llama.cpp ends this
process alone. One thread owns the context; another reads standard input, and ends the process when the parent is gone.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import signal
import sys
import threading
import time
from types import ModuleType
from typing import NoReturn

from node import llama_frames as frames
from node.engine import Sampling
from node.llama_batch import BATCH_TOKENS_MAX, Piece
from node.llama_grammar import GRAMMARS
from node.llama_server import Server
from node.llama_template import ChatTemplate, Messages, UnusableTemplateError

TEMPLATE_BYTES_MAX = 1 << 16
"""Of a template with its question in place; real ones are under 20 kB."""
WARM_TOKENS_MAX = 32
WARM_MS_MAX = 500
"""The measurement of the speed ends at whichever comes first: a large model must not delay the start for it."""
_MS = 1_000_000
_PR_SET_PDEATHSIG = 1
_LOG_ERROR = 4
_DECODE_ABORTED = 2
_FLASH_AUTO, _FLASH_OFF = -1, 0


def _import_llama() -> ModuleType:
    """llama_cpp's C interface alone. Its package also imports numpy, jinja2 and a server's needs: 20 MB and 0.15 s."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None:
        raise RefusedError("llama-cpp-python is not installed: run `make demo`, or pip install llama-cpp-python")
    sys.modules.setdefault("llama_cpp", importlib.util.module_from_spec(spec))
    import llama_cpp.llama_cpp  # noqa: PLC0415 - only once the package above stands in for the real one

    return llama_cpp.llama_cpp


class RefusedError(Exception):
    """The model cannot be served at all; the message is for the user."""


class Model:
    """llama.cpp behind the few calls that the batcher and the tokenising need."""

    def __init__(self, path: str, slots: int, context: int, threads: int, gpu_layers: int) -> None:
        self._llama = llama = _import_llama()
        self._log = llama.llama_log_callback(_log)
        llama.llama_log_set(self._log, None)
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        self._model = llama.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise RefusedError(f"llama.cpp cannot load {path}: its architecture is unknown to it, or the file is damaged")
        self._vocab = llama.llama_model_get_vocab(self._model)
        self.context = context
        # Set from the reading thread while the other is inside llama.cpp. The callback is called once a node of the
        # graph, so it must not be Python (that costs more than a tiny model's arithmetic): strlen of this buffer, whose
        # lowest byte C reads as bool, is 0 for "" and 1 for one character.
        self._abort = ctypes.create_string_buffer(2)
        parameters = self._context_parameters(slots, threads, gpu_layers)
        self._context = llama.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise RefusedError(f"no memory for {slots} slots of {self.context} tokens with {path}: lower `context` or `slots`")
        self._memory = llama.llama_get_memory(self._context)
        if not self._memory or llama.llama_model_has_encoder(self._model):
            raise RefusedError(f"the model {path} does not write text on from a question: give a generative one")
        self._greedy = llama.llama_sampler_init_greedy()
        self._samplers = [self._greedy] * slots
        self._batch = llama.llama_batch_init(BATCH_TOKENS_MAX, 0, 1)
        bos = llama.llama_vocab_bos(self._vocab)
        self._bos = bos if bos >= 0 and llama.llama_vocab_get_add_bos(self._vocab) else None
        self._blank_first = llama.llama_vocab_type(self._vocab) == llama.LLAMA_VOCAB_TYPE_SPM
        self._template = self._chat_template(path)

    def _context_parameters(self, slots: int, threads: int, gpu_layers: int) -> ctypes.Structure:
        parameters: ctypes.Structure = self._llama.llama_context_default_params()
        parameters.n_ctx = self.context * slots
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS_MAX
        parameters.n_seq_max = slots
        # One row of logits a sequence, not one a token: with a vocabulary of 150,000 that is 2 MB instead of 77.
        parameters.n_outputs_max = slots
        parameters.n_threads = parameters.n_threads_batch = threads
        # Sequences of different lengths share a step only in a unified cache; else a prompt takes turns with them.
        parameters.kv_unified = True
        # Measured on a CPU with tiny models: flash attention takes two to four times as long beyond 200 tokens.
        parameters.flash_attn_type = _FLASH_AUTO if gpu_layers else _FLASH_OFF
        parameters.no_perf = True
        strlen = ctypes.CDLL(None).strlen
        parameters.abort_callback = ctypes.cast(strlen, self._llama.ggml_abort_callback)
        parameters.abort_callback_data = ctypes.addressof(self._abort)
        return parameters

    def interrupt(self) -> None:
        """End the running decode step, or the next one; from any thread."""
        self._abort.value = b"1"

    def resume(self) -> None:
        """Let decode steps run again."""
        self._abort.value = b""

    def decode(self, pieces: list[Piece]) -> list[int | None] | None:
        """One step; see Decoder."""
        batch, count = self._batch, 0
        last: list[int] = []
        for piece in pieces:
            for offset, token in enumerate(piece.tokens):
                batch.token[count] = token
                batch.pos[count] = piece.position + offset
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = piece.slot
                batch.logits[count] = 0
                count += 1
            batch.logits[count - 1] = piece.sample
            last.append(count - 1)
        batch.n_tokens = count
        code = self._llama.llama_decode(self._context, batch)
        if code == _DECODE_ABORTED:
            return None
        if code:
            raise RuntimeError(f"llama_decode returned {code}")
        sample = self._llama.llama_sampler_sample
        return [
            sample(self._samplers[piece.slot], self._context, index) if piece.sample else None
            for piece, index in zip(pieces, last, strict=True)
        ]

    def begin(self, slot: int, sampling: Sampling) -> None:
        """Give the slot the sampler of its next sequence."""
        llama = self._llama
        if self._samplers[slot] is not self._greedy:
            llama.llama_sampler_free(self._samplers[slot])
        self._samplers[slot] = self._greedy
        if sampling.temperature_milli == 0 and sampling.grammar not in GRAMMARS:
            return
        self._samplers[slot] = chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if sampling.grammar in GRAMMARS:
            grammar = GRAMMARS[sampling.grammar].encode()
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_grammar(self._vocab, grammar, b"root"))
        if sampling.temperature_milli == 0:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
            return
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(sampling.temperature_milli / 1_000))
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(sampling.seed))

    def truncate(self, slot: int, length: int) -> int:
        """Forget the slot from `length` on; a recurrent model cannot, and forgets it all."""
        if self._llama.llama_memory_seq_rm(self._memory, slot, length, -1):
            return length
        self._llama.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return 0

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return bool(self._llama.llama_vocab_is_eog(self._vocab, token))

    def prompt(self, system: str, opening: str, message: list[str]) -> list[int]:
        """The prompt in the model's template. The odd parts are data: control tokens written in them stay letters."""
        texts, data = self._template.around(system, message[::2]), message[1::2]
        texts[-1] += opening
        for index, text in enumerate(texts[:-1]):
            # Vocabularies join a blank with the word behind it, so it goes where that word is.
            if text.endswith(" "):
                texts[index], data[index] = text[:-1], f" {data[index]}"
        tokens = self._tokens(texts[0], special=True)
        if self._bos is not None and tokens[:1] != [self._bos]:
            tokens.insert(0, self._bos)
        for each, text in zip(data, texts[1:], strict=True):
            tokens += self._continued(each, special=False) + self._continued(text, special=True)
        return tokens

    def text(self, tokens: list[int]) -> str:
        """The text of tokens; what is not UTF-8 is replaced."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        size = 64 + 16 * len(tokens)
        remove_special, unparse_special = True, False
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = self._llama.llama_detokenize(
                self._vocab, array, len(tokens), buffer, size, remove_special, unparse_special
            )
            if written >= 0:
                return buffer.raw[:written].decode("utf-8", errors="replace")
            size = -written

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        raw = text.encode("utf-8", errors="replace")
        size = len(raw) + 8
        add_special = False
        array = (ctypes.c_int32 * size)()
        count = self._llama.llama_tokenize(self._vocab, raw, len(raw), array, size, add_special, special)
        if count < 0:
            raise RuntimeError(f"llama_tokenize returned {count}")
        return array[:count]

    def _continued(self, text: str, *, special: bool) -> list[int]:
        """Tokens of a text behind another.

        Vocabularies of SentencePiece take the beginning of a text for that of a word, and put a blank before it; behind the
        end of a line they do not.
        """
        if not self._blank_first or not text:
            return self._tokens(text, special=special)
        line, tokens = self._tokens("\n", special=False), self._tokens(f"\n{text}", special=special)
        return tokens[len(line) :] if tokens[: len(line)] == line else self._tokens(text, special=special)

    def _chat_template(self, path: str) -> ChatTemplate:
        llama = self._llama
        raw = llama.llama_model_chat_template(self._model, None) or b""
        names = [self._spelling(token(self._vocab)) for token in (llama.llama_vocab_bos, llama.llama_vocab_eos)]
        try:
            return ChatTemplate(raw.decode("utf-8", errors="replace"), names[0], names[1], lambda said: self._guess(raw, said))
        except UnusableTemplateError:
            raise RefusedError(f"the chat template in {path} cannot be used: give another GGUF") from None

    def _spelling(self, token: int) -> str:
        raw = self._llama.llama_vocab_get_text(self._vocab, token) if token >= 0 else b""
        return str(raw.decode("utf-8", errors="replace"))

    def _guess(self, template: bytes, messages: Messages) -> str | None:
        """What llama.cpp makes of the template, by guessing whose it is."""
        ask_for_answer = True
        said = [self._llama.llama_chat_message(each["role"].encode(), each["content"].encode()) for each in messages]
        array = (self._llama.llama_chat_message * len(said))(*said)
        buffer = ctypes.create_string_buffer(TEMPLATE_BYTES_MAX)
        written = self._llama.llama_chat_apply_template(template, array, len(said), ask_for_answer, buffer, TEMPLATE_BYTES_MAX)
        return buffer.raw[:written].decode("utf-8", errors="replace") if 0 <= written <= TEMPLATE_BYTES_MAX else None

    def measure(self) -> int:
        """Tokens a second of one sequence, at least 1: a short generation whose text is thrown away."""
        token = max(0, self._llama.llama_vocab_bos(self._vocab))
        self.decode([Piece(0, 0, [token], sample=True)])
        started, done = time.monotonic_ns(), 0
        while done < min(WARM_TOKENS_MAX, self.context - 1) and time.monotonic_ns() - started < WARM_MS_MAX * _MS:
            done += 1
            sampled = self.decode([Piece(0, done, [token], sample=True)])
            token = sampled[0] or 0 if sampled else 0
        elapsed_ns = time.monotonic_ns() - started
        self.truncate(0, 0)
        return max(1, done * 1_000_000_000 // max(1, elapsed_ns))


def _log(level: int, text: bytes, _data: object) -> None:
    """llama.cpp's errors go to standard error, of which the parent keeps the end; the rest goes nowhere."""
    if level == _LOG_ERROR:
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even one that was killed while we load."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main() -> NoReturn:
    """`python -m node.llama_worker`: the daemon starts it, nobody else."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    for name in ("slots", "context", "threads", "gpu-layers", "heartbeat-ms", "parent"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    _die_with(arguments.parent)
    # Frames alone may use the pipe: whatever a library prints goes to standard error.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        model = Model(arguments.model, arguments.slots, arguments.context, arguments.threads, arguments.gpu_layers)
    except RefusedError as error:
        output.write(frames.encode([frames.REFUSED, str(error)]))
        output.flush()
        os._exit(0)
    server = Server(model, arguments.slots, arguments.heartbeat_ms, output)
    server.send([frames.READY, model.measure()])
    threading.Thread(target=server.read, args=(sys.stdin.buffer,), daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
