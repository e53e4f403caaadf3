"""Simulates incidents in microservice systems and writes them as scenario files.

A topology (`topologies`) gets names and habits (`world`), one fault (`faults`) strikes one service, requests
run through the call trees and fail where the fault makes them (`simulate`), noise is laid over it (`noise`),
and the whole becomes a scenario with its ground truth (`compose`). `splits` draws many of them and writes a
folder atomically; `check` proves a folder sound. Nothing here trains, searches or judges.
"""
