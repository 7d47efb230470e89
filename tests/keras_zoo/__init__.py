"""Everything that Keras exports, tried one by one; what comes of it is `docs/keras.md`."""
