"""`dreamr deploy`: files that run a pair and its gateway on other machines."""

from dreamr.serving.deploy.writing import FORMATS, Format, deployment_files, warnings, write_files

__all__ = ["FORMATS", "Format", "deployment_files", "warnings", "write_files"]
