"""The sample of our own: a rendered egocentric clip whose hands, camera and object are known exactly.

``truth`` reads the shipped clip's truth, ``compare`` measures a result against it (both need numpy only); ``render``
makes clips anew (needs the ``render`` extra: MuJoCo, and PyAV).
"""
