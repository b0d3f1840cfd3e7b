"""Models of a server double by name, version and label, under the rules of TensorFlow Serving's server core."""

import os

import c_api

# Status codes of TensorFlow, which gRPC shares.
INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12


class Refusal(Exception):
    """An error response: a status code and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class ServedModels:
    """Loads SavedModels and looks them up.

    Args:
        folders: list of `NAME=VERSION_FOLDER`; the folder is named after the version.
        labels: list of `NAME:LABEL=VERSION`.
    """

    def __init__(self, folders, labels=()):
        self.versions = {}
        for entry in folders:
            name, folder = entry.split("=", 1)
            version = int(os.path.basename(os.path.abspath(folder)))
            self.versions.setdefault(name, {})[version] = c_api.ServedModel(folder)
        self.labels = {}
        for entry in labels:
            label, version = entry.rsplit("=", 1)
            self.labels[tuple(label.split(":"))] = int(version)

    def find(self, name, version=None, label=None):
        """Returns (version, model) for a version or label; by default for the latest version."""
        if label is not None:
            if (name, label) not in self.labels:
                raise Refusal(INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            version = self.labels[name, label]
        versions = self.versions.get(name, {})
        asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        if version is None:
            version = max(versions, default=None)
        if version not in versions:
            raise Refusal(NOT_FOUND, f"Servable not found for request: {asked}")
        return version, versions[version]
