"""The models of a server double: by name, version and label, found by the rules of TensorFlow Serving's server core."""

import os

import c_api

# Codes of statuses, which are those of gRPC.
INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED = 3, 5, 12


class Refusal(Exception):
    """What the server answers instead of a result: the code of a status, and its message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class ServedModels:
    """Loads SavedModels, and finds them.

    Args:
        folders: list of `NAME=VERSION_FOLDER`; the name of the folder is the number of the version.
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
        """(version, model): the version, the one with the label, or the latest."""
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
