"""One training step of TensorFlow and of JAX, whose gradients cross a channel.

This is a drill, because TensorFlow is a gigabyte. With the package `casemate` and `tensorflow-cpu` and `jax` installed, run
`pytest interop/drills/gradients.py`.
"""

from __future__ import annotations

import os
import queue
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import casemate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
from casemate import train
from casemate.train._tensor import readable
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


@pytest.fixture(scope="module")
def channels():
    keys = {name: casemate.PrivateKey.generate("mldsa65-ed25519") for name in ("worker", "server")}
    owner = casemate.PrivateKey.generate("mldsa65-ed25519")
    roster = train.open_roster(train.sign_roster(keys, sign=owner), signer=owner.public_key)
    one, two = queue.Queue(4), queue.Queue(4)
    near, far = train.QueueLink(one, two, timeout=20), train.QueueLink(two, one, timeout=20)
    with ThreadPoolExecutor(2) as pool:
        accepted = pool.submit(train.GradientChannel.accept, far, roster, me="server", key=keys["server"])
        worker = train.GradientChannel.connect(near, roster, me="worker", key=keys["worker"], peer="server")
        return worker, accepted.result()


def gradients():
    """Return the gradients of the article's step, for a small model."""
    tf.random.set_seed(1)
    model = tf.keras.Sequential([tf.keras.layers.Input((20,)), tf.keras.layers.Dense(8, "relu"), tf.keras.layers.Dense(1)])
    samples, targets = tf.random.normal((64, 20)), tf.random.normal((64, 1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(samples) - targets))
    return model, tape.gradient(loss, model.trainable_variables)


def test_tensorflow_gradients_cross_and_are_applied(channels):
    worker, server = channels
    model, sent = gradients()
    received = []
    for index, gradient in enumerate(sent):
        out = np.empty(gradient.shape, gradient.dtype.as_numpy_dtype)
        received.append(server.open(worker.seal(gradient, f"gradient{index}"), out, f"gradient{index}"))
    for gradient, out in zip(sent, received, strict=True):
        assert np.array_equal(gradient.numpy(), out)
    before = [variable.numpy() for variable in model.trainable_variables]
    tf.keras.optimizers.SGD(0.1).apply_gradients(
        zip([tf.constant(out) for out in received], model.trainable_variables, strict=True)
    )
    for old, gradient, variable in zip(before, received, model.trainable_variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), old - 0.1 * gradient, rtol=1e-6, atol=1e-7)


def test_the_articles_step_with_a_shared_key(channels):
    """GradientTape, serialise, a hybrid key, AES-GCM."""
    from casemate import hybrid

    server = casemate.PrivateKey.generate("mlkem768-x25519")
    _, sent = gradients()
    serialised = b"".join(tf.io.serialize_tensor(gradient).numpy() for gradient in sent)
    key, ciphertext = hybrid.encapsulate(server.public_key, b"example.com/gradients")
    nonce = os.urandom(12)
    sealed = AESGCM(key).encrypt(nonce, serialised, ciphertext)
    opened = AESGCM(hybrid.decapsulate(server, ciphertext, b"example.com/gradients")).decrypt(nonce, sealed, ciphertext)
    assert opened == serialised
    whole = 12 + len(ciphertext) + len(sealed)
    print(f"\n{len(serialised)} bytes of gradients: {whole} with a hybrid key for one message")


def test_tensorflow_tensors_are_not_copied():
    tensor = tf.ones((1000, 10))
    assert readable(tensor).content.ctypes.data == np.from_dlpack(tensor).ctypes.data


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
def test_jax_arrays_cross_without_a_copy(channels, dtype):
    worker, server = channels
    array = jnp.arange(12).reshape(3, 4).astype(dtype)
    assert readable(array).content.ctypes.data == array.unsafe_buffer_pointer()
    out = np.empty(array.shape, array.dtype)
    message = worker.seal(array, "g")
    with pytest.raises(TypeError, match="ArrayImpl cannot be written"):
        server.open(message, array, "g")
    server.open(message, out, "g")
    assert bool((jnp.asarray(out) == array).all())


def test_a_jax_gradient_crosses(channels):
    worker, server = channels
    gradient = jax.grad(lambda weights: jnp.sum(jnp.tanh(weights) ** 2))(jnp.linspace(-1, 1, 50))
    out = server.open(worker.seal(gradient), np.empty(50, np.float32))
    assert np.array_equal(np.asarray(gradient), out)
    assert out.any()
