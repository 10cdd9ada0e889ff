"""Room `bundle`: the artefacts on disk: layout, manifest, digests, reading back."""
